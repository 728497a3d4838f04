"""Preparing once: the same files however often it was stopped, and one line for whatever goes wrong."""

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hcflow_jax.data import images, listing, prepare, shards, workers
from hcflow_jax.data.locks import only_writer

ROOT = str(Path(__file__).parents[1])
COUNT = 30


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(COUNT):
        pixels = np.random.default_rng(i).integers(0, 256, (12, 14, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    return folder


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(listing, "_SHARD_IMAGES", 8)


def _prepare(source: object, out: Path, *flags: str, resolution: int = 8, processes: int = 1) -> int:
    arguments = ["--source", f"folder:{source}", "--out", str(out), "--resolution", str(resolution)]
    return prepare.main([*arguments, "--workers", str(processes), *flags])


def _files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def _beside(out: Path) -> list[str]:
    return [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}.")]


def _one_line(capsys, *words: str) -> None:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and all(word in lines[0] for word in words), lines


def test_holds_the_pictures_in_their_order(pictures, tmp_path, capsys):
    assert _prepare(pictures, tmp_path / "out") == 0
    source = shards.ShardSource(tmp_path / "out")
    for i in range(COUNT):
        np.testing.assert_array_equal(source[i], images.load(pictures / f"{i:03d}.png", 8, ""))
    assert [entry["count"] for entry in source.manifest["shards"]] == [8, 8, 8, 6]
    assert source.manifest["source"]["path"] == str(pictures)
    first = hashlib.sha256(source[0].tobytes()).hexdigest()
    said = f"{COUNT} images of 8 pixels, content {source.identity[:16]}, first image {first[:16]}\n"
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: {said}"
    assert prepare.main(["--check", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.endswith(said)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == {
        "images": COUNT,
        "skipped": 0,
        "conversions": {},
        "unreadable": [],
    }
    assert not _beside(tmp_path / "out")


def test_several_processes_make_what_one_makes(pictures, tmp_path):
    (pictures / "007.png").write_bytes(b"no picture")
    assert _prepare(pictures, tmp_path / "one") == 0
    assert _prepare(pictures, tmp_path / "three", processes=3) == 0
    assert _files(tmp_path / "one") == _files(tmp_path / "three")


def test_prepared_already(pictures, tmp_path, capsys):
    assert _prepare(pictures, tmp_path / "out") == 0
    before = _files(tmp_path / "out")
    assert _prepare(pictures, tmp_path / "out") == 0
    assert "already prepared" in capsys.readouterr().out
    assert _files(tmp_path / "out") == before and not _beside(tmp_path / "out")


@pytest.mark.parametrize("change", ["resolution", "names", "path", "foreign"])
def test_what_is_there_is_never_touched(pictures, tmp_path, capsys, change):
    out = tmp_path / "out"
    if change == "foreign":
        out.mkdir()
        (out / "thesis.tex").write_text("precious")
    else:
        assert _prepare(pictures, out) == 0
    before = _files(out)
    if change == "names":
        (pictures / "more.png").write_bytes(b"")
    source = shutil.copytree(pictures, tmp_path / "copy") if change == "path" else pictures
    assert _prepare(source, out, resolution=4 if change == "resolution" else 8) == 2
    _one_line(capsys, str(out), "something else" if change == "foreign" else f"another {change}")
    assert _files(out) == before and not _beside(out)


def test_an_unreadable_picture_is_reported_and_moves_no_other(pictures, tmp_path, capsys):
    (pictures / "003.png").write_bytes((pictures / "003.png").read_bytes()[:100])
    Image.new("L", (9, 9), 5).save(pictures / "020.png")
    assert _prepare(pictures, tmp_path / "out") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["images"], report["skipped"], sum(report["conversions"].values())) == (COUNT - 1, 1, 1)
    (bad,) = report["unreadable"]
    assert bad["picture"] == str(pictures / "003.png") and "cannot be read" in bad["reason"]
    assert "skipped: 1" in capsys.readouterr().out
    source = shards.ShardSource(tmp_path / "out")
    assert [entry["count"] for entry in source.manifest["shards"]] == [7, 8, 8, 6]
    np.testing.assert_array_equal(source[3], images.load(pictures / "004.png", 8, ""))


def test_an_unreadable_picture_is_fatal_by_flag(pictures, tmp_path, capsys):
    (pictures / "012.png").write_bytes(b"no picture")
    assert _prepare(pictures, tmp_path / "out", "--on-error", "fail", processes=2) == 1
    _one_line(capsys, str(pictures / "012.png"), "--on-error skip")
    assert not (tmp_path / "out").exists()
    assert _prepare(pictures, tmp_path / "out") == 0  # goes on with what was finished
    assert _prepare(pictures, tmp_path / "whole") == 0
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_a_shard_without_a_readable_picture_is_left_out(pictures, tmp_path, capsys):
    for i in range(8, 16):
        (pictures / f"{i:03d}.png").write_bytes(b"")
    assert _prepare(pictures, tmp_path / "out") == 0
    source = shards.ShardSource(tmp_path / "out")
    assert [entry["count"] for entry in source.manifest["shards"]] == [8, 8, 6]
    np.testing.assert_array_equal(source[8], images.load(pictures / "016.png", 8, ""))
    for path in pictures.iterdir():
        path.write_bytes(b"")
    assert _prepare(pictures, tmp_path / "none") == 1
    _one_line(capsys, f"none of the {COUNT} pictures", "000.png")


def test_a_second_writer_is_told_who_the_first_is(pictures, tmp_path, capsys):
    with only_writer(tmp_path / "out"):
        assert _prepare(pictures, tmp_path / "out") == 2
        _one_line(capsys, f"process {os.getpid()} is preparing it")
    assert _prepare(pictures, tmp_path / "out") == 0


def test_flipped_byte_is_named(pictures, tmp_path, capsys):
    assert _prepare(pictures, tmp_path / "out") == 0
    assert prepare.main(["--check", str(tmp_path / "out")]) == 0
    shard = tmp_path / "out" / shards.shard_name(2, 4)
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    assert prepare.main(["--check", str(tmp_path / "out")]) == 1
    _one_line(capsys, str(shard), "damaged")
    assert _prepare(pictures, tmp_path / "out") == 2
    _one_line(capsys, str(shard), "damaged")


def _limited(pictures: Path, out: Path, size: int) -> subprocess.CompletedProcess[str]:
    arguments = ["--source", f"folder:{pictures}", "--out", str(out), "--resolution", "64", "--workers", "1"]
    command = [sys.executable, "-m", "hcflow_jax.data.prepare", *arguments]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # noqa: E731
    return subprocess.run(command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True, timeout=300)


def test_full_disk_is_one_line_and_leaves_nothing_half_made(pictures, tmp_path):
    run = _limited(pictures, tmp_path / "out", 200_000)  # 30 images of 64 pixels are 369 kB
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert run.returncode == 1 and "cannot be written (File too large)" in line and "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists() and not list(tmp_path.rglob("images-*"))


def test_too_little_room_is_said_before_anything_is_written(pictures, tmp_path, capsys):
    assert _prepare(pictures, tmp_path / "out", resolution=1 << 20) == 2
    _one_line(capsys, "98956.046 GB", "free")
    assert not _beside(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "web:here"], ["--source is 'web:here'", "lsun:DIR"]),
        (["--source", "folder:"], ["--source is 'folder:'"]),
        (["--source", "folder:/no/such"], ["/no/such", "no such folder"]),
        (["--resolution", "0"], ["--resolution is 0"]),
        (["--resolution", "big"], ["--resolution", "'big'"]),
        (["--workers", "0"], ["--workers is 0"]),
        (["--on-error", "weep"], ["--on-error", "'weep'"]),
        (["--colour"], ["--colour"]),
        (["--out", "{pictures}/out"], ["lies in the source"]),
        (["--out", "{pictures}/000.png/out"], ["cannot be written"]),
    ],
)
def test_wrong_arguments_are_one_line(pictures, tmp_path, capsys, arguments, words):
    source = ["--source", f"folder:{tmp_path / 'elsewhere'}"] if "000.png" in arguments[-1] else []
    (tmp_path / "elsewhere").mkdir()
    arguments = [argument.format(pictures=pictures) for argument in arguments]
    assert _prepare(pictures, tmp_path / "out", *arguments, *source) == 2
    _one_line(capsys, *words)
    assert not (tmp_path / "out").exists() and not _beside(tmp_path / "out")


def test_missing_argument_is_one_line(capsys):
    assert prepare.main(["--source", "folder:x", "--out", "y"]) == 2
    _one_line(capsys, "--resolution is missing")


def test_what_another_preparation_left_is_removed(pictures, tmp_path, capsys):
    left = tmp_path / ".out.0123456789ab.partial"
    (left / "set").mkdir(parents=True)
    assert _prepare(pictures, tmp_path / "out") == 0
    assert not left.exists() and f"{left}: removed" in capsys.readouterr().err


def test_finished_shards_are_kept_and_damaged_ones_made_again(pictures, tmp_path, monkeypatch):
    (pictures / "029.png").write_bytes(b"no picture")
    assert _prepare(pictures, tmp_path / "whole") == 0
    assert _prepare(pictures, tmp_path / "out", "--on-error", "fail") == 1
    (partial,) = tmp_path.glob(".out.*.partial")
    made = sorted((partial / "set").iterdir())
    assert [path.name for path in made] == [shards.shard_name(i, 4) for i in range(3)]
    made[1].write_bytes(b"damaged")
    read, load = [], images.load
    monkeypatch.setattr(images, "load", lambda *args, **kwargs: read.append(args[2]) or load(*args, **kwargs))
    assert _prepare(pictures, tmp_path / "out") == 0
    assert [Path(name).stem for name in read] == [f"{i:03d}" for i in (*range(8, 16), *range(24, 30))]
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")


def test_a_process_that_is_killed_is_one_error_and_nothing_is_lost(pictures, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr(workers, "_WORKER", "import os; os.kill(os.getpid(), 9)")
        assert _prepare(pictures, tmp_path / "out", processes=2) == 1
    _one_line(capsys, "a process was ended by SIGKILL", "memory")
    assert not (tmp_path / "out").exists()
    assert _prepare(pictures, tmp_path / "out", processes=2) == 0


def test_listing_needs_no_more_memory_for_many_names(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "_MOST_SHARDS", 8)

    def peak(count: int) -> int:
        tracemalloc.start()
        names = listing.write_names(tmp_path / "names", (f"{i}/\udcff\n.jpg" for i in range(count)), 10)
        assert names.count == count and len(names.starts) <= 8
        last = len(names.starts) - 1
        expected = [f"{i}/\udcff\n.jpg" for i in range(last * names.shard_images, count)]
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert list(listing.read_names(names.file, *names.shard(last))) == expected
        return most - sys.getsizeof(expected) - sum(map(sys.getsizeof, expected))

    assert peak(40_000) < peak(400) + 50_000


@pytest.mark.full
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_ten_points_and_started_again_gives_the_same_bytes(tmp_path, processes):
    folder, rng = tmp_path / "pictures", random.Random(processes)
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    for i in range(1500):
        Image.fromarray(np.roll(noise, i, axis=0)).save(folder / f"{i:04d}.jpg")
    (folder / "0700.jpg").write_bytes(b"no picture")

    def start(out: Path) -> subprocess.Popen[bytes]:
        code = (
            "import sys; from hcflow_jax.data import listing, prepare; listing._SHARD_IMAGES = 20\n"
            f"sys.exit(prepare.main(['--source', 'folder:{folder}', '--out', '{out}', '--resolution', '64', "
            f"'--workers', '{processes}']))"
        )
        return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)

    began = time.monotonic()
    assert start(tmp_path / "whole").wait() == 0
    took = time.monotonic() - began
    killed = 0
    while killed < 10:
        run = start(tmp_path / "out")
        try:
            run.wait(rng.uniform(0.1, 0.6) * took)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.wait()
            killed += 1
        else:  # it was quick enough to finish: that too has to be right, and the next one begins anew
            assert _files(tmp_path / "out") == _files(tmp_path / "whole")
            shutil.rmtree(tmp_path / "out")
    assert start(tmp_path / "out").wait() == 0
    assert _files(tmp_path / "out") == _files(tmp_path / "whole")
    assert not _beside(tmp_path / "out")


@pytest.mark.full
def test_interrupted_is_one_line(pictures, tmp_path):
    arguments = ["--source", f"folder:{pictures}", "--out", str(tmp_path / "out"), "--resolution", "2000"]
    command = [sys.executable, "-m", "hcflow_jax.data.prepare", *arguments, "--workers", "2"]
    run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    _until(lambda: any(tmp_path.glob(".out.*.partial/work/*")))
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate()
    assert run.returncode == 130 and said.splitlines()[-1] == "stopped; the same command goes on"
    assert "Traceback" not in said and not (tmp_path / "out").exists()


@pytest.mark.full
def test_processes_end_with_whoever_started_them(tmp_path):
    code = (
        "import sys, time; sys.path[:] = {path!r}; from hcflow_jax.data import workers\n"
        "workers.run('test_data_prepare:linger', [dict(file={file!r}, i=i) for i in range(2)], print, "
        "workers=2, what='lingering')"
    )
    path = [str(Path(__file__).parent), *sys.path]
    run = subprocess.Popen([sys.executable, "-c", code.format(path=path, file=str(tmp_path / "pid"))], cwd=ROOT)
    files = [tmp_path / "pid0", tmp_path / "pid1"]
    _until(lambda: all(file.exists() for file in files))
    run.kill()
    run.wait()
    _until(lambda: not any(Path(f"/proc/{file.read_text()}").exists() for file in files))


def linger(job, report) -> None:
    """A job for `test_processes_end_with_whoever_started_them` that takes an hour."""
    own = Path(f"{job['file']}.{job['i']}")
    own.write_text(str(os.getpid()))
    own.rename(f"{job['file']}{job['i']}")
    time.sleep(3600)


def _until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
