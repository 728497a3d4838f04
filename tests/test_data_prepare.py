"""Preparing once: the pictures in their order, what was skipped, and one line for whatever goes wrong."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prepare_runs import COUNT, beside, files, make_pictures, one_line, run_prepare

from hcflow_jax.data import images, listing, prepare, shards, unfinished
from hcflow_jax.data.preparation import only_writer

ROOT = str(Path(__file__).parents[1])
pictures = pytest.fixture(make_pictures)


def test_holds_the_pictures_in_their_order(pictures, tmp_path, capsys):
    assert run_prepare(pictures, tmp_path / "out") == 0
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
        "left_out": {},
        "unreadable": [],
    }
    assert not beside(tmp_path / "out")


def test_several_processes_make_what_one_makes(pictures, tmp_path):
    (pictures / "007.png").write_bytes(b"no picture")
    assert run_prepare(pictures, tmp_path / "one") == 0
    assert run_prepare(pictures, tmp_path / "three", processes=3) == 0
    assert files(tmp_path / "one") == files(tmp_path / "three")


def test_prepared_already(pictures, tmp_path, capsys):
    assert run_prepare(pictures, tmp_path / "out") == 0
    before = files(tmp_path / "out")
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert "already prepared" in capsys.readouterr().out
    assert files(tmp_path / "out") == before and not beside(tmp_path / "out")


def test_a_complete_set_says_that_repaired_pictures_need_another_place(pictures, tmp_path, capsys):
    whole = (pictures / "003.png").read_bytes()
    (pictures / "003.png").write_bytes(b"no picture")
    assert run_prepare(pictures, tmp_path / "out") == 0
    (pictures / "003.png").write_bytes(whole)
    capsys.readouterr()
    assert run_prepare(pictures, tmp_path / "out") == 0
    report = tmp_path / "out" / "report.json"
    said = f"skipped pictures: 1, named in {report}; to include repaired ones, prepare into another --out"
    assert capsys.readouterr().out.splitlines()[1:] == [said]
    report.unlink()
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert "skipped" not in capsys.readouterr().out


@pytest.mark.parametrize("change", ["resolution", "names", "path", "foreign"])
def test_what_is_there_is_never_touched(pictures, tmp_path, capsys, change):
    out = tmp_path / "out"
    if change == "foreign":
        out.mkdir()
        (out / "thesis.tex").write_text("precious")
    else:
        assert run_prepare(pictures, out) == 0
    before = files(out)
    if change == "names":
        (pictures / "more.png").write_bytes(b"")
    source = shutil.copytree(pictures, tmp_path / "copy") if change == "path" else pictures
    assert run_prepare(source, out, resolution=4 if change == "resolution" else 8) == 2
    one_line(capsys, str(out), "not a prepared set" if change == "foreign" else f"another {change}")
    assert files(out) == before and not beside(out)


def test_an_unreadable_picture_is_reported_and_moves_no_other(pictures, tmp_path, capsys):
    (pictures / "003.png").write_bytes((pictures / "003.png").read_bytes()[:100])
    Image.new("L", (9, 9), 5).save(pictures / "020.png")
    assert run_prepare(pictures, tmp_path / "out") == 0
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
    assert run_prepare(pictures, tmp_path / "out", "--on-error", "fail", processes=2) == 1
    one_line(capsys, str(pictures / "012.png"), "--on-error skip")
    assert not (tmp_path / "out").exists()
    assert run_prepare(pictures, tmp_path / "out") == 0  # goes on with what was finished
    assert run_prepare(pictures, tmp_path / "whole") == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_shard_without_a_readable_picture_is_left_out(pictures, tmp_path, capsys):
    for i in range(8, 16):
        (pictures / f"{i:03d}.png").write_bytes(b"")
    assert run_prepare(pictures, tmp_path / "out") == 0
    source = shards.ShardSource(tmp_path / "out")
    assert [entry["count"] for entry in source.manifest["shards"]] == [8, 8, 6]
    np.testing.assert_array_equal(source[8], images.load(pictures / "016.png", 8, ""))
    for path in pictures.iterdir():
        path.write_bytes(b"")
    assert run_prepare(pictures, tmp_path / "none") == 1
    one_line(capsys, f"none of the {COUNT} pictures", "000.png")


def test_a_second_writer_is_told_who_the_first_is(pictures, tmp_path, capsys):
    with only_writer(tmp_path / "out"):
        assert run_prepare(pictures, tmp_path / "out") == 2
        one_line(capsys, f"process {os.getpid()} is preparing it")
    assert run_prepare(pictures, tmp_path / "out") == 0


def test_flipped_byte_is_named(pictures, tmp_path, capsys):
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert prepare.main(["--check", str(tmp_path / "out")]) == 0
    shard = tmp_path / "out" / shards.shard_name(2, 4)
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    assert prepare.main(["--check", str(tmp_path / "out")]) == 1
    one_line(capsys, str(shard), "damaged")
    assert run_prepare(pictures, tmp_path / "out") == 2
    one_line(capsys, str(shard), "damaged")


def _limited(pictures: Path, out: Path, size: int) -> subprocess.CompletedProcess[str]:
    arguments = ["--source", f"folder:{pictures}", "--out", str(out), "--resolution", "64", "--workers", "1"]
    # Limited by itself: a function to call after a fork is not for a process in which jax runs threads.
    code = (
        "import resource, sys; from hcflow_jax.data import prepare; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size})); sys.exit(prepare.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_full_disk_is_one_line_and_leaves_nothing_half_made(pictures, tmp_path):
    run = _limited(pictures, tmp_path / "out", 200_000)  # 30 images of 64 pixels are 369 kB
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert run.returncode == 1 and "cannot be written (File too large)" in line and "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists() and not list(tmp_path.rglob("images-*"))


def test_too_little_room_is_said_before_anything_is_written(pictures, tmp_path, capsys):
    assert run_prepare(pictures, tmp_path / "out", resolution=1 << 20) == 2
    one_line(capsys, "98956.046 GB", "free")
    assert not beside(tmp_path / "out")


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
        (["--out", "{pictures}/out"], ["is inside the source"]),
        (["--out", "{pictures}/000.png/out"], ["cannot be written"]),
    ],
)
def test_wrong_arguments_are_one_line(pictures, tmp_path, capsys, arguments, words):
    source = ["--source", f"folder:{tmp_path / 'elsewhere'}"] if "000.png" in arguments[-1] else []
    (tmp_path / "elsewhere").mkdir()
    arguments = [argument.format(pictures=pictures) for argument in arguments]
    assert run_prepare(pictures, tmp_path / "out", *arguments, *source) == 2
    one_line(capsys, *words)
    assert not (tmp_path / "out").exists() and not beside(tmp_path / "out")


def test_missing_argument_is_one_line(capsys):
    assert prepare.main(["--source", "folder:x", "--out", "y"]) == 2
    one_line(capsys, "--resolution is missing")


def test_what_another_preparation_left_is_removed(pictures, tmp_path, capsys):
    left = unfinished.make(tmp_path / "out", "0123456789ab")
    (left / "set").mkdir()
    assert left.name == ".out.0123456789ab.partial"
    assert run_prepare(pictures, tmp_path / "out") == 0
    assert not left.exists() and f"{left}: removed" in capsys.readouterr().err


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
