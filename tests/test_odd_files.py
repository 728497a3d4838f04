"""What is no picture in a folder of pictures: never opened where opening could block, named, and counted."""

import os
import shutil
import socket
from pathlib import Path

import cli_fakes as fakes
import numpy as np
import odd_pictures as odd
import pytest
from prepare_runs import files, run_prepare

from hcflow_jax import api
from hcflow_jax.cli import command
from hcflow_jax.config import default
from hcflow_jax.data import DataError, images, open_source, pipeline, reading
from hcflow_jax.data.folder import Folder
from hcflow_jax.data.left_out import LeftOut


def _pipe(path: Path) -> str:
    os.mkfifo(path)
    return "a named pipe, not a file"


def _socket(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    return "a socket, not a file"


def _device(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "a device, not a file"


def _loop(path: Path) -> str:
    path.symlink_to(path.name)
    return "Too many levels of symbolic links"


def _nothing(path: Path) -> str:
    path.symlink_to("absent")
    return "o such file"


def _large(path: Path) -> str:
    with open(path, "wb") as file:
        file.truncate(reading.MOST_BYTES + 1)  # takes no room on the disk
    return "1073741825 bytes, of 1073741824 at most"


MAKERS = [_pipe, _socket, _device, _loop, _nothing, _large]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with one picture; the current one, as a socket's path is short."""
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path / "set")
    Path("b.png").write_bytes(odd.encoded())
    return tmp_path / "set"


def _config(folder: Path):
    config = default()
    config.data.update(source="folder", path=str(folder), resolution=8, eval_images=0)
    config.train.batch_size = 2
    return config


@pytest.mark.situation(
    "a file with the name of a picture that is a pipe, a socket, a device, a broken or circular link, or over 1 GiB"
)
@pytest.mark.parametrize("make", MAKERS)
def test_preparing_names_and_skips_or_stops(folder, tmp_path, capsys, make):
    why = make(Path("a.png"))
    assert run_prepare(folder, tmp_path / "out") == 0
    report = (tmp_path / "out" / "report.json").read_text()
    assert f"{folder}/a.png: cannot be read (" in report and why in report
    capsys.readouterr()
    assert run_prepare(folder, tmp_path / "not", "--on-error", "fail") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"{folder}/a.png: " in line and why in line


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("threads", [0, 1])
def test_training_ends_and_names_it(folder, make, threads):
    why = make(Path("a.png"))
    config = _config(folder)
    config.data.read_threads = threads
    with pytest.raises(DataError, match=rf"^{folder}/a\.png: cannot be read \(.*{why}.*\); repair or remove it$"):
        next(pipeline.train_batches(config))


@pytest.mark.parametrize("make", [*MAKERS, lambda path: path.mkdir() or "Is a directory"])
def test_the_command_names_it(folder, capsys, monkeypatch, make):
    why = make(Path("a.png"))
    monkeypatch.setattr(api, "load", lambda *_, **__: fakes.Model())
    assert command.main(["reconstruct", "b.png", "a.png"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: a.png: cannot be read as a picture (") and why in line


def test_the_command_opens_a_picture_once(folder, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr(reading, "read_file", lambda path: opened.append(path) or odd.encoded())
    monkeypatch.setattr(api, "load", lambda *_, **__: fakes.Model())
    Path("empty.png").touch()
    assert command.main(["reconstruct", "empty.png"]) == 0
    assert opened == [Path("empty.png")]
    assert f"note: empty.png: cropped to its central square and resized to {fakes.SIZE} pixels" in (
        capsys.readouterr().err
    )


def test_what_takes_a_files_place_after_the_look_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "a.png")
    monkeypatch.setattr(reading.os, "stat", lambda *_, **__: os.lstat(__file__))
    with pytest.raises(OSError, match="a named pipe, not a file"):
        reading.read_file(tmp_path / "a.png")


@pytest.mark.parametrize("make", [_pipe, _socket, _device, _loop])
def test_a_zip_file_that_is_none(folder, make):
    why = make(Path("a.zip"))
    config = _config(folder / "a.zip")
    config.data.source = "zip"
    with pytest.raises(DataError, match=rf"a\.zip: cannot be read \({why}\); data\.path names the zip file"):
        open_source(config, "train")


@pytest.mark.situation("a circular link without the name of a picture")
def test_a_link_to_itself_is_one_file_that_is_left_out(folder):
    Path("loop").symlink_to("loop")
    Path("deep").mkdir()
    Path("deep/loop.txt").symlink_to("../deep/loop.txt")
    source = Folder(folder)
    assert list(source.names()) == ["b.png"] and str(source.left_out) == "2 files (.txt 1, no ending 1)"


def test_a_link_that_cannot_be_followed(folder):
    target = f"{'d' * 300}/a"  # longer than a name may be
    Path("a.png").symlink_to(target)
    with pytest.raises(DataError, match=rf"^{folder}/a\.png: cannot be read \(File name too long\)"):
        open_source(_config(folder), "train")[0]
    Path("deep").symlink_to(target)  # perhaps a folder of many pictures: not left out in silence
    with pytest.raises(DataError, match=rf"^{folder}/deep: cannot be listed \(File name too long\)"):
        open_source(_config(folder), "train")


@pytest.mark.situation("plain JPEGs called .jfif or .jpe")
def test_other_names_of_jpegs(folder):
    for name in ("c.jfif", "d.JPE"):
        Path(name).write_bytes(odd.encoded(kind="JPEG"))
    source = open_source(_config(folder), "train")
    assert len(source) == 3
    np.testing.assert_array_equal(source[1], images.load(Path("c.jfif"), 8, ""))
    shutil.make_archive("../set", "zip", ".")
    config = _config(folder.parent / "set.zip")
    config.data.source = "zip"
    zipped = open_source(config, "train")
    assert zipped.identity == source.identity


@pytest.mark.situation("files of other endings beside the pictures")
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_is_left_out_is_counted_and_said_once(folder, tmp_path, capsys, caplog, monkeypatch, kind):
    for name in ("a.gif", "c.GIF", "d.tif", "e", ".hidden.gif", "f.ta r", "..gif"):
        Path(name).touch()
    Path("deep.gif").mkdir()
    Path("deep.gif/g.heic").touch()
    where = folder
    if kind == "zip":
        where = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", "."))
    source = ["--source", f"{kind}:{where}"]
    assert run_prepare(folder, tmp_path / "out", *source) == 0
    said = "left out, not pictures by their endings: 6 files (.gif 2, .heic 1, .tif 1, no ending 1, other endings 1)"
    assert capsys.readouterr().out.splitlines()[0] == said
    report = (tmp_path / "out" / "report.json").read_text()
    assert '"left_out": {\n  ".gif": 2,\n  ".heic": 1,' in report
    before = files(tmp_path / "out")
    assert run_prepare(folder, tmp_path / "out", *source) == 0
    assert said in capsys.readouterr().out and files(tmp_path / "out") == before
    monkeypatch.setattr(images, "_said", set())
    config = _config(where)
    config.data.update(source=kind, eval_fraction=0.0)
    for _ in range(2):
        open_source(config, "train")
    assert [message for message in caplog.messages if "left out" in message] == [f"{kind} {where}: {said}"]


def test_a_set_without_a_picture_says_what_it_has(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(DataError, match=r"contains no picture \(.*\.jfif.*left out: 1 file \(\.tif 1\)$"):
        open_source(_config(tmp_path), "train")


def test_endings_take_no_memory():
    left_out = LeftOut()
    for i in range(1000):
        left_out.add(f"a.{i}")
    assert len(left_out.counts) == 101 and left_out.counts.total() == 1000
    assert str(left_out).startswith("1000 files (other endings 900, .0 1, .1 1,")
    assert str(left_out).endswith(", and 91 more endings)")
