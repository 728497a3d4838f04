"""Databases in LSUN's format, written here: keys of 40 digits, WebP and JPEG pictures as values."""

import io
import pickle
import shutil
import threading

import lmdb
import pytest
from PIL import Image

from hcflow_jax.config import ConfigError, default
from hcflow_jax.data import DataError, open_encoded, open_source
from hcflow_jax.data.lsun import Lsun


def _config(path, eval_images: int = 0):
    config = default()
    config.data.update(source="lsun", path=str(path), resolution=4, eval_images=eval_images)
    return config


def _picture(value: int, kind: str = "WEBP") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (value, value, value)).save(file, kind)
    return file.getvalue()


def _write(path, values: dict[str, bytes]):
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    return path


def _key(i: int) -> str:
    return f"{i:040x}"


@pytest.fixture
def church(tmp_path):
    """Five pictures, of grey 10, 20, ..., in the order of their keys."""
    kinds = ("WEBP", "JPEG", "WEBP", "JPEG", "WEBP")
    values = {_key(i): _picture(10 * i + 10, kind) for i, kind in enumerate(kinds)}
    return _write(tmp_path / "church_outdoor_train_lmdb", dict(reversed(values.items())))


def _values(source) -> list[int]:
    return [int(source[i][0, 0, 0]) for i in range(len(source))]


def test_train_and_held_out_of_one_database(church):
    train, held_out = (open_source(_config(church, 2), split) for split in ("train", "eval"))
    assert max(abs(a - b) for a, b in zip(_values(train), [10, 20, 30], strict=True)) <= 1
    assert max(abs(a - b) for a, b in zip(_values(held_out), [40, 50], strict=True)) <= 1
    again = open_source(_config(church.parent / "." / church.name, 2), "train")  # while those are open
    assert again.identity == train.identity and _values(again) == _values(train)


def test_held_out_database(church, tmp_path):
    config = _config(church)
    config.data.eval_path = str(_write(tmp_path / "church_outdoor_val_lmdb", {_key(9): _picture(90)}))
    assert [len(open_source(config, split)) for split in ("train", "eval")] == [5, 1]


def test_reading_needs_no_lock_and_writes_nothing(church):
    (church / "lock.mdb").unlink()
    assert len(open_source(_config(church), "train")) == 5
    assert [file.name for file in church.iterdir()] == ["data.mdb"]


def test_names_stream(church):
    names = Lsun(church).names()
    assert next(names) == _key(0) and next(names) == _key(1)
    del names  # ends its transaction
    assert list(Lsun(church).names()) == [_key(i) for i in range(5)]


def test_threads_read_what_was_written(tmp_path):
    values = {_key(i): bytes([i]) * 5000 for i in range(20)}
    source, wrong = Lsun(_write(tmp_path / "db", values)), []

    def read() -> None:
        wrong.extend(name for name in source.names() if source.read(name) != values[name])

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_rebuilt_from_its_description_and_pickled(church):
    source = open_encoded("lsun", str(church))
    for again in (open_encoded(**source.describe()), pickle.loads(pickle.dumps(source))):
        assert again.read(_key(0)) == source.read(_key(0)) == _picture(10)
    with pytest.raises(DataError, match=r"church_outdoor_train_lmdb: key ff: no such key"):
        source.read("ff")


def test_keys_need_not_be_text(tmp_path):
    with lmdb.open(str(tmp_path / "db")) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"\xff\x00z", _picture(50))
    assert abs(_values(open_source(_config(tmp_path / "db"), "train"))[0] - 50) <= 1


def test_damaged_picture_is_named(tmp_path):
    for name, value, reason in (
        ("cut", _picture(9, "JPEG")[:200], "cannot be read as a picture"),
        ("empty", b"", "is empty"),
    ):
        path = _write(tmp_path / name, {_key(1): value})
        with pytest.raises(DataError, match=rf"{path}: key {_key(1)}: {reason}") as error:
            open_source(_config(path), "train")[0]
        assert "\n" not in str(error.value)


def _error(path) -> str:
    with pytest.raises(DataError) as error:
        open_source(_config(path), "train")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_cut_off_database_is_refused_before_it_is_read(tmp_path):
    whole = _write(tmp_path / "whole", {_key(i): bytes(9000) for i in range(50)})
    content = (whole / "data.mdb").read_bytes()
    for kept in (len(content) // 2, 8192, 100, 0):
        path = tmp_path / f"cut_{kept}"
        path.mkdir()
        (path / "data.mdb").write_bytes(content[:kept])
        assert str(path / "data.mdb") in _error(path) and "unpack it again" in _error(path)
    (path / "data.mdb").write_bytes(b"hello" * 9000)
    assert f"{path}/data.mdb: not an LMDB database (" in _error(path)


def test_what_is_no_database_says_what_is_expected(church, tmp_path):
    expected = "expected a directory as LSUN publishes it, such as church_outdoor_train_lmdb, with data.mdb inside"
    assert _error(tmp_path / "none") == f"{tmp_path}/none: no database; {expected}"
    (tmp_path / "church_outdoor_val_lmdb.zip").write_bytes(b"PK")
    assert "a zip file; unpack it" in _error(tmp_path / "church_outdoor_val_lmdb.zip")
    assert _error(tmp_path).endswith("holds databases and is none; name one of them: church_outdoor_train_lmdb")
    with pytest.raises(ConfigError, match=r"data\.path is empty"):
        open_source(_config(""), "train")
    assert "contains no picture" in _error(_write(tmp_path / "empty_lmdb", {}))


def test_directory_that_disappears_or_is_replaced(church):
    source = open_source(_config(church), "train")
    shutil.rmtree(church)
    assert len(_values(source)) == 5  # what is open is still there
    assert f"{church}: no database" in _error(church)
    _write(church, {_key(1): _picture(200)})
    assert abs(_values(open_source(_config(church), "train"))[0] - 200) <= 1
