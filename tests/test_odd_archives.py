"""Whatever is raised while one picture is read names it: in archives of every kind, and by every decoder."""

import json
import random
import zipfile
from pathlib import Path

import lmdb
import numpy as np
import odd_pictures as odd
import pytest
from PIL import Image
from prepare_runs import one_line, run_prepare

from hcflow_jax.config import default
from hcflow_jax.data import DataError, images, open_source, pipeline
from hcflow_jax.data.folder import Folder
from hcflow_jax.data.lsun import Lsun
from hcflow_jax.data.source import ShortageError
from hcflow_jax.data.tfds_source import Tfds
from hcflow_jax.data.zip_source import Zip

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8))


def _zip(path: Path, method: int) -> tuple[Path, int, int]:
    """An archive of three pictures, and where the second one's data starts and stops."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in ("a.png", "b.png", "c.png"):
            archive.writestr(name, odd.encoded(NOISE, "BMP"))
        start, stop = archive.getinfo("b.png").header_offset, archive.getinfo("c.png").header_offset
    return path, start, stop


@pytest.mark.situation(
    "a damaged member of a zip file of any compression, or of a compression that Python does not know"
)
@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_member_costs_itself_alone(tmp_path, capsys, method):
    path, start, stop = _zip(tmp_path / "a.zip", METHODS[method])
    content = bytearray(path.read_bytes())
    content[start + 45 : stop - 20] = bytes(255 - byte for byte in content[start + 45 : stop - 20])
    path.write_bytes(content)
    source = ["--source", f"zip:{path}"]
    assert run_prepare("", tmp_path / "out", *source) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    (bad,) = report["unreadable"]
    assert report["images"] == 2 and bad["picture"] == f"{path}: b.png" and "damaged (" in bad["reason"]
    assert run_prepare("", tmp_path / "not", *source, "--on-error", "fail") == 1
    one_line(capsys, f"{path}: b.png: damaged (")


@pytest.mark.parametrize("method", METHODS)
def test_damage_at_random_names_the_member_or_the_archive(tmp_path, method):
    path, start, _ = _zip(tmp_path / "a.zip", METHODS[method])
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            content[draw.randrange(start, len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            archive = Zip(path)
            for name in archive.names():
                try:
                    archive.read(name)
                except DataError as error:
                    assert str(error).startswith(archive.label(name)) and "\n" not in str(error)
                    refused += 1
        except DataError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            refused += 1
    assert refused > 75


@pytest.mark.parametrize("method", [1, 6, 9, 93, 97])
def test_a_compression_that_is_not_known(tmp_path, method):
    path, start, _ = _zip(tmp_path / "a.zip", zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\1\2", content.index(b"PK\1\2") + 1)
    content[directory + 10] = content[start + 8] = method
    path.write_bytes(content)
    archive = Zip(path)
    with pytest.raises(DataError, match=r"a\.zip: b\.png: (cannot be unpacked|damaged) \(.*\); "):
        archive.read("b.png")
    assert archive.read("c.png") == archive.read("a.png")


class _Odd(Exception):
    """What no list of exceptions has."""


def _records(error: BaseException) -> list:
    class Records:
        def __getitem__(self, index: int):
            raise error

    return Records()  # pyright: ignore


def _raising(error: BaseException):
    def function(*_, **__):
        raise error

    return function


@pytest.mark.situation("a damaged record of a TensorFlow Datasets set, or a damaged entry of an LSUN database")
def test_a_record_that_cannot_be_read():
    source = Tfds.__new__(Tfds)
    source.name, source._feature = "tfds tiny", "image"
    for error in (_Odd("broken\nfor good"), TypeError("odd"), AttributeError("'x' at 0x7f00"), RuntimeError()):
        source._records = _records(error)
        with pytest.raises(DataError, match=r"^tfds tiny, image 3: damaged \(.+\); prepare the set again$"):
            source.read("3")
    source._records = [{"other": b""}]
    with pytest.raises(DataError, match=r"^tfds tiny, image 0: damaged \('image'\)"):
        source.read("0")


class _Damaged:
    """A database whose transactions fail."""

    def __init__(self, error: Exception) -> None:
        self.begin = _raising(error)


def test_a_database_entry_that_cannot_be_read(tmp_path):
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 20) as environment, environment.begin(write=True) as writing:
        writing.put(b"k", b"picture")
    source = Lsun(tmp_path / "db")
    assert source.read("k") == b"picture"
    for error in (lmdb.CorruptedError("page"), _Odd("odd"), TypeError("odd")):
        source._environment = _Damaged(error)  # pyright: ignore
        with pytest.raises(
            DataError, match=rf"^{tmp_path}/db: key k: cannot be read \(.+\); unpack the database again"
        ):
            source.read("k")


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "set").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "set" / name).write_bytes(odd.encoded())
    return tmp_path / "set"


def _config(folder: Path):
    config = default()
    config.data.update(source="folder", path=str(folder), resolution=8, eval_images=0, read_threads=1)
    config.train.batch_size = 3
    return config


ANY = [_Odd("odd"), TypeError("odd"), AttributeError(), RecursionError("deep"), Warning("odd"), StopIteration()]


@pytest.mark.situation("a decoder that raises any exception while it reads one picture")
@pytest.mark.parametrize("error", ANY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["load", "read"])
def test_whatever_is_raised_names_the_picture(folder, tmp_path, capsys, monkeypatch, error, place):
    if place == "load":
        whole = Image.Image.convert
        (folder / "b.png").write_bytes(odd.encoded(Image.new("L", (9, 9))))
        monkeypatch.setattr(
            Image.Image, "convert", lambda self, *a: _raising(error)() if self.mode == "L" else whole(self, *a)
        )
    else:
        whole = Folder.read
        monkeypatch.setattr(
            Folder, "read", lambda self, name: _raising(error)() if name == "b.png" else whole(self, name)
        )
    assert run_prepare(folder, tmp_path / "out") == 0
    (bad,) = json.loads((tmp_path / "out" / "report.json").read_text())["unreadable"]
    assert bad["picture"] == f"{folder}/b.png" and bad["reason"].startswith(f"{folder}/b.png: cannot be read")
    assert run_prepare(folder, tmp_path / "not", "--on-error", "fail") == 1
    one_line(capsys, f"{folder}/b.png: cannot be read")
    with pytest.raises(DataError, match=rf"^{folder}/b\.png: cannot be read"):
        next(pipeline.train_batches(_config(folder)))


@pytest.mark.situation("too little memory, or too many open files, while a picture is read")
@pytest.mark.parametrize(("error", "lacking"), [(MemoryError(), "memory"), (OSError(24, "Too many"), "open files")])
def test_a_shortage_is_not_the_pictures_fault(folder, tmp_path, capsys, monkeypatch, error, lacking):
    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "load", _raising(error))
        assert run_prepare(folder, tmp_path / "out") == 1  # not skipped, whatever --on-error says
        one_line(capsys, f"{folder}/a.png: cannot be read as a picture for want of {lacking}; start again with more")
        with pytest.raises(ShortageError, match=r"a\.png|b\.png|c\.png"):
            next(pipeline.train_batches(_config(folder)))
    assert run_prepare(folder, tmp_path / "out") == 0  # and nothing is lost
    assert json.loads((tmp_path / "out" / "report.json").read_text())["images"] == 3


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_being_stopped_is_no_fault_of_a_picture(folder, monkeypatch, stop):
    monkeypatch.setattr(Image.Image, "load", _raising(stop()))
    with pytest.raises(stop):
        open_source(_config(folder), "train")[0]


def test_a_report_that_fails_is_no_fault_of_a_picture(folder):
    (folder / "b.png").write_bytes(odd.encoded(Image.new("L", (9, 9))))
    with pytest.raises(BrokenPipeError):
        images.load(folder / "b.png", 8, "it", _raising(BrokenPipeError()))


def test_conversions_of_a_picture_that_is_skipped_are_not_counted(folder, tmp_path):
    deep = odd.encoded(Image.fromarray(np.random.default_rng(0).integers(0, 65536, (9, 9), np.uint16)))
    (folder / "b.png").write_bytes(deep[: len(deep) // 2])
    assert run_prepare(folder, tmp_path / "out") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["skipped"] == 1 and report["conversions"] == {}
