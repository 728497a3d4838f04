"""A zip file of pictures: what is in it, in which order, and errors that name the member."""

import io
import pickle
import struct
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from hcflow_jax.config import ConfigError, default
from hcflow_jax.data import DataError, open_encoded, open_source, zip_source
from hcflow_jax.data.zip_source import Zip


def _config(path, eval_images: int = 0):
    config = default()
    config.data.update(source="zip", path=str(path), resolution=4, eval_images=eval_images)
    return config


def _png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


def _write(path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _values(source) -> list[int]:
    return [int(source[i][0, 0, 0]) for i in range(len(source))]


def test_order_split_and_what_is_left_out(tmp_path):
    members = {"b/1.PNG": 1, "a/2.png": 2, "c.jpeg": 3, "a/10.png": 4, "a.png": 5, "a-b/3.png": 6}
    other = {"a/notes.txt": b"-", ".git/x.png": b"-", "a/._2.png": b"-", "__MACOSX/a/2.png": b"-", "d.png/": b""}
    path = _write(tmp_path / "a.zip", other | {name: _png(value) for name, value in members.items()})
    train, held_out = (open_source(_config(path, 1), split) for split in ("train", "eval"))
    assert _values(train) + _values(held_out) == [4, 2, 6, 5, 1, 3]


def test_is_the_folder_that_it_unpacks_to(tmp_path):
    path = _write(tmp_path / "a.zip", {name: _png(9) for name in ("a/2.png", "a-b/3.png", "a.png", "b/c/d.png")})
    zipfile.ZipFile(path).extractall(tmp_path / "folder")
    folder = _config(tmp_path / "folder")
    folder.data.source = "folder"
    assert open_source(_config(path), "train").identity == open_source(folder, "train").identity


def test_held_out_zip_file(tmp_path):
    config = _config(_write(tmp_path / "train.zip", {"a.png": _png(1)}))
    config.data.eval_path = str(_write(tmp_path / "val.zip", {"b.png": _png(2)}))
    assert [_values(open_source(config, split)) for split in ("train", "eval")] == [[1], [2]]
    config.data.eval_path = config.data.path
    with pytest.raises(ConfigError, match=r"data\.eval_path"):
        open_source(config, "eval")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_threads_read_what_was_written(tmp_path, compression):
    members = {f"{i}.png": np.random.default_rng(i).bytes(5000) for i in range(20)}
    source, wrong = Zip(_write(tmp_path / "a.zip", members, compression)), []

    def read() -> None:
        wrong.extend(name for name in members if source.read(name) != members[name])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_rebuilt_from_its_description_and_pickled(tmp_path):
    source = open_encoded("zip", str(_write(tmp_path / "a.zip", {"a.png": b"x"})))
    for again in (open_encoded(**source.describe()), pickle.loads(pickle.dumps(source))):
        assert list(again.names()) == ["a.png"] and again.read("a.png") == b"x"
    with pytest.raises(DataError, match=r"a\.zip: b\.png: no such member"):
        source.read("b.png")


def _error(path) -> str:
    with pytest.raises(DataError) as error:
        open_source(_config(path), "train")[0]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_damaged_member_is_named(tmp_path):
    path = _write(tmp_path / "a.zip", {"b/c.png": _png(1) * 50}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    assert _error(path).startswith(f"{path}: b/c.png: damaged (Bad CRC-32")


def test_picture_that_is_none_is_named(tmp_path):
    for data, reason in ((b"text", "cannot be read as a picture"), (b"", "is empty")):
        path = _write(tmp_path / "a.zip", {"b.jpg": data})
        assert _error(path).startswith(f"{path}: b.jpg: {reason}")


@pytest.mark.parametrize(("offset", "value", "reason"), [(8, 1, "encrypted"), (10, 9, r"cannot be unpacked")])
def test_encrypted_and_unknown_compression(tmp_path, offset, value, reason):
    path = _write(tmp_path / "a.zip", {"b.png": _png(1)})
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, content.index(b"PK\x01\x02") + offset, value)  # in the table of contents
    path.write_bytes(content)
    assert _error(path).startswith(f"{path}: b.png: {reason}")


def test_member_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_source, "_MAX_BYTES", 1000)
    assert "too large (1001 bytes unpacked)" in _error(_write(tmp_path / "a.zip", {"b.png": bytes(1001)}))


def test_files_that_are_no_zip(tmp_path):
    assert _error(tmp_path / "none.zip").startswith(f"{tmp_path}/none.zip: no such file; data.path names the zip")
    assert _error(tmp_path).startswith(f"{tmp_path}: cannot be read (Is a directory)")
    whole = _write(tmp_path / "a.zip", {"b.png": _png(1)}).read_bytes()
    for content in (b"", b"hello" * 100, whole[: len(whole) - 30]):
        (tmp_path / "bad.zip").write_bytes(content)
        assert _error(tmp_path / "bad.zip").startswith(f"{tmp_path}/bad.zip: not a whole zip file (")
    assert "contains no picture (.png" in _error(_write(tmp_path / "c.zip", {"a.txt": b""}))
    with pytest.raises(ConfigError, match=r"data\.path is empty"):
        open_source(_config(""), "train")
