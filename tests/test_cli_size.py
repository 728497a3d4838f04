"""The `hcflow` command with many images: memory, what is written as it comes, what a stopped command keeps."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cli_fakes as fakes
import numpy as np
import pytest

from hcflow_jax import api, files, pictures
from hcflow_jax.analysis.report import Report
from hcflow_jax.cli import latents_file


@pytest.fixture
def hcflow(tmp_path, capsys, monkeypatch):
    yield from fakes.running(tmp_path, capsys, monkeypatch)


def _times(folder: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).iterdir()}


def _stop_after(monkeypatch: Any, model: fakes.Model, method: str, calls: int) -> Callable[[], None]:
    """A model that is interrupted at a call of a method; what gives the method back."""
    whole, left = getattr(fakes.Model, method), iter(range(calls))

    def call(*arguments, **options):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return whole(model, *arguments, **options)

    monkeypatch.setattr(model, method, call)
    return lambda: monkeypatch.delattr(model, method)


@pytest.mark.situation("`hcflow sample --each` of very many images, stopped")
def test_samples_are_written_as_they_are_drawn_and_go_on_with_first(hcflow, monkeypatch):
    go_on = _stop_after(monkeypatch, hcflow.model, "sample", 2)
    assert hcflow("sample", "--count", 10, "--seed", 3, "--each", "a")[0] == 130
    assert sorted(path.name for path in Path("a").iterdir()) == [f"seed3_{i:05d}.png" for i in range(6)]
    go_on()
    status, out, _ = hcflow("sample", "--first", 6, "--count", 4, "--seed", 3, "--each", "a")
    assert (status, out) == (0, ["a: 4 images of 8 pixels"])
    hcflow("sample", "--count", 10, "--seed", 3, "--each", "b")
    whole = {path.name: path.read_bytes() for path in Path("b").iterdir()}
    assert len(whole) == 10 and whole == {path.name: path.read_bytes() for path in Path("a").iterdir()}
    hcflow("sample", "--first", 1000, "--count", 2, "--each", "c", "--out", "c.png")
    assert sorted(path.name for path in Path("c").iterdir()) == ["seed0_01000.png", "seed0_01001.png"]
    np.testing.assert_array_equal(fakes.read(Path("c.png"))[:96:12, :96:12], hcflow.model.sample(1, first=1000)[0])


@pytest.mark.situation("`hcflow sample --first` and `--count` beyond the last image of a seed")
def test_the_last_image_of_a_seed(hcflow):
    last = 2**32 - 1
    assert hcflow("sample", "--first", last, "--count", 1, "--each", "a")[0] == 0
    status, _, [line] = hcflow("sample", "--first", last, "--count", 2, "--each", "b")
    assert status == 2 and "the last image of a seed is 4294967295" in line and not Path("b").exists()
    for wrong in (last + 1, -1, "1.5"):
        status, _, [line] = hcflow("sample", f"--first={wrong}", "--each", "b")
        assert status == 2 and "--first" in line


@pytest.mark.situation("a sheet of more images than a picture can hold")
def test_a_sheet_that_nothing_opens_is_refused_before_anything_is_computed(hcflow, monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "LARGEST", 10 * 96**2)
    _stop_after(monkeypatch, hcflow.model, "draw", 0)
    _stop_after(monkeypatch, hcflow.model, "encode", 0)
    status, _, [line] = hcflow("sample", "--count", 16)
    expected = (
        "--out samples.png: a sheet of 384 x 384 pixels is too large; about 10 images of 96 pixels fit; --each DIR"
    )
    assert status == 2 and expected in line
    assert hcflow("sample", "--count", 4, "--columns", 11)[0] == 2
    assert hcflow("interpolate", "seed:1", "seed:2", "--steps", 11, "--out", "a.png")[0] == 2
    paths = fakes.pictures(tmp_path, 3)
    status, _, [line] = hcflow("edit", *paths, "--resample", "4")
    assert status == 2 and "--out edits.png: a sheet of 288 x 384 pixels is too large" in line


@pytest.mark.situation("`hcflow decode` stopped and repeated, or into a folder with finished PNGs")
def test_decoding_goes_on_and_keeps_what_is_finished(hcflow, tmp_path, monkeypatch):
    paths = fakes.pictures(tmp_path, 8)
    hcflow("encode", *paths, "--out", "z.npz")
    go_on = _stop_after(monkeypatch, hcflow.model, "decode", 2)
    assert hcflow("decode", "z.npz", "--out", "a")[0] == 130
    first = _times("a")
    assert sorted(first) == ["picture0.png", "picture1.png", "picture2.png"]
    go_on()
    status, out, _ = hcflow("decode", "z.npz", "--out", "a")
    assert (status, out) == (0, ["a: 8 images of 8 pixels; 3 images were finished before and are kept"])
    assert len(_times("a")) == 8 and first.items() <= _times("a").items()
    for path in paths:
        np.testing.assert_array_equal(fakes.read(Path("a", path.name)), fakes.read(path))
    all_times, decoded = _times("a"), len(hcflow.model.calls)
    assert hcflow("decode", "z.npz", "--out", "a")[1] == [
        "a: 8 images of 8 pixels; 8 images were finished before and are kept"
    ]
    assert _times("a") == all_times and len(hcflow.model.calls) == decoded
    Path("a/picture4.png").unlink()
    assert "7 images were finished" in hcflow("decode", "z.npz", "--out", "a")[1][0]


@pytest.mark.situation("PNGs of another model, of other latents or cut off, where `hcflow decode` writes")
def test_decoding_replaces_what_is_of_something_else(hcflow, tmp_path, monkeypatch):
    paths = fakes.pictures(tmp_path, 5)
    hcflow("encode", *paths, "--out", "z.npz")
    whole = ["a: 5 images of 8 pixels"]
    hcflow("decode", "z.npz", "--out", "a")
    content = Path("a/picture1.png").read_bytes()
    Path("a/picture0.png").write_bytes(b"")
    Path("a/picture1.png").write_bytes(content[:-5])
    Path("a/picture2.png").write_bytes(content)
    assert hcflow("decode", "z.npz", "--out", "a")[1] == [f"{whole[0]}; 2 images were finished before and are kept"]
    for path in paths:
        np.testing.assert_array_equal(fakes.read(Path("a", path.name)), fakes.read(path))
    assert hcflow("decode", "z.npz", "--out", "a", "--dtype", "bfloat16")[1] == whole
    monkeypatch.setattr(hcflow.model, "fingerprint", "another model")
    assert hcflow("decode", "z.npz", "--out", "a", "--dtype", "bfloat16")[1] == whole


@pytest.mark.situation("`hcflow encode` stopped and repeated")
def test_encoding_goes_on(hcflow, tmp_path, monkeypatch):
    paths = fakes.pictures(tmp_path, 8)
    hcflow("encode", *paths, "--out", "whole.npz")
    go_on = _stop_after(monkeypatch, hcflow.model, "encode", 2)
    assert hcflow("encode", *paths, "--out", "z.npz")[0] == 130
    assert not Path("z.npz").exists()
    go_on()
    hcflow.model.calls.clear()
    status, out, _ = hcflow("encode", *paths, "--out", "z.npz")
    assert (status, out) == (
        0,
        ["z.npz: 8 images, levels prior, y1, 4, 8; 6 images were finished before and are kept"],
    )
    assert hcflow.model.calls == [("encode", 2)]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    with np.load("whole.npz") as expected, np.load("z.npz") as found:
        for name in expected.files:
            np.testing.assert_array_equal(found[name], expected[name])
    assert hcflow("encode", *paths, "--out", "z.npz")[1][0].endswith("; 8 images were finished before and are kept")
    assert hcflow.model.calls == [("encode", 2)]


def test_encoding_with_noise_goes_on_with_the_same_noise(hcflow, tmp_path, monkeypatch):
    paths = fakes.pictures(tmp_path, 8)
    go_on = _stop_after(monkeypatch, hcflow.model, "encode", 2)
    assert hcflow("encode", *paths, "--noise-seed", 5, "--out", "z.npz")[0] == 130
    go_on()
    assert hcflow("encode", *paths, "--noise-seed", 5, "--out", "z.npz")[0] == 0 and hcflow.model.noise == (5, 6)
    for seed in (["--noise-seed", 6], []):  # another file than the one that is there
        status, [line], _ = hcflow("encode", *paths, *seed, "--out", "z.npz")
        assert status == 0 and "kept" not in line and hcflow.model.noise == (seed[1] if seed else None, 0)


@pytest.mark.situation("`hcflow encode` repeated after a picture, the order or the model has changed")
def test_encoding_goes_on_after_what_is_the_same(hcflow, tmp_path, monkeypatch):
    paths = fakes.pictures(tmp_path, 8)

    def stopped_and_repeated(*changed):
        go_on = _stop_after(monkeypatch, hcflow.model, "encode", 2)
        hcflow("encode", *paths, "--out", "z.npz")
        go_on()
        status, [line], _ = hcflow("encode", *(changed or paths), "--out", "z.npz")
        images = np.stack([fakes.read(path) for path in changed or paths])
        with np.load("z.npz") as found:
            np.testing.assert_array_equal(found["8"], fakes.Model().encode(images)["8"])
        Path("z.npz").unlink()
        return line.partition(";")[2]

    assert stopped_and_repeated(*paths[:4], *paths[5:], paths[4]) == " 3 images were finished before and are kept"
    assert stopped_and_repeated(*paths[::-1]) == ""
    go_on = _stop_after(monkeypatch, hcflow.model, "encode", 2)
    hcflow("encode", *paths, "--out", "z.npz")
    go_on()
    paths[1].write_bytes(paths[0].read_bytes())
    assert hcflow("encode", *paths, "--out", "z.npz")[1] == ["z.npz: 8 images, levels prior, y1, 4, 8"]
    monkeypatch.setattr(hcflow.model, "fingerprint", "another model")
    assert hcflow("encode", *paths, "--out", "z.npz")[1] == ["z.npz: 8 images, levels prior, y1, 4, 8"]


@pytest.mark.situation("a picture that cannot be read, late among many")
def test_what_was_encoded_before_a_bad_picture_is_kept(hcflow, tmp_path):
    paths = fakes.pictures(tmp_path, 7)
    good = paths[6].read_bytes()
    paths[6].write_bytes(b"damage")
    for name in ("encode", "reconstruct"):
        out = {"encode": "z.npz", "reconstruct": "r.png"}[name]
        status, _, [line] = hcflow(name, *paths, "--out", out)
        assert status == 2 and "picture6.png: cannot be read" in line and not Path(out).exists()
    paths[6].write_bytes(good)
    assert hcflow("encode", *paths, "--out", "z.npz")[1][0].endswith("; 6 images were finished before and are kept")
    assert hcflow("reconstruct", *paths, "--out", "r.png")[1][-1] == (
        "r.png: 7 images; 6 images were finished before and are kept"
    )


@pytest.mark.situation("two commands that write the same file at once")
def test_one_command_at_a_time_writes_a_file(hcflow, tmp_path, monkeypatch):
    paths = fakes.pictures(tmp_path, 4)
    go_on = _stop_after(monkeypatch, hcflow.model, "encode", 1)
    hcflow("encode", *paths, "--out", "z.npz")
    go_on()
    [folder] = [path for path in tmp_path.iterdir() if path.name.startswith(".hcflow-")]
    with files.locked(folder / "lock"):
        status, _, [line] = hcflow("encode", *paths, "--out", "z.npz")
    assert status == 2 and "z.npz is held by process" in line


@pytest.mark.situation("`hcflow reconstruct` stopped and repeated, or of more images than a sheet holds")
def test_reconstructing_goes_on_and_its_sheet_has_an_end(hcflow, tmp_path, monkeypatch):
    paths = fakes.pictures(tmp_path, 20)
    whole = hcflow("reconstruct", *paths, "--out", "whole.png")[1]
    go_on = _stop_after(monkeypatch, hcflow.model, "encode", 3)
    assert hcflow("reconstruct", *paths, "--out", "r.png")[0] == 130
    go_on()
    status, out, _ = hcflow("reconstruct", *paths, "--out", "r.png")
    assert status == 0 and out[:2] == whole[:2]
    assert out[2] == "r.png: 20 images; 9 images were finished before and are kept"
    np.testing.assert_array_equal(fakes.read(Path("r.png")), fakes.read(Path("whole.png")))
    images = np.stack([fakes.read(path) for path in paths])
    rows = [images[i : i + 8] for i in (0, 0, 8, 8, 16, 16)]
    expected = pictures.rows(rows, ["original", "decoded"] * 3, scale=12)
    np.testing.assert_array_equal(fakes.read(Path("whole.png")), expected)

    monkeypatch.setattr("hcflow_jax.pictures.sheet_files.LARGEST", 10 * 98 * 98 * 4)
    out = hcflow("reconstruct", *paths, "--out", "s.png")[1]
    assert out[:2] == whole[:2] and out[2] == "s.png: 20 images, of which the sheet shows the first 16"
    np.testing.assert_array_equal(fakes.read(Path("s.png")), expected[: 4 * 98 - 2])


def test_the_file_of_latents_is_what_numpy_writes(hcflow, tmp_path):
    paths = fakes.pictures(tmp_path, 4)
    hcflow("encode", *paths, "--out", "z.npz")
    z = fakes.Model().encode(np.stack([fakes.read(path) for path in paths]))
    arrays: Any = dict(
        images=np.array([path.name for path in paths]), checkpoint=np.array(api.BOXED[0]), **z.as_dict()
    )
    np.savez("numpy.npz", **arrays)
    with zipfile.ZipFile("z.npz") as ours, zipfile.ZipFile("numpy.npz") as theirs:
        assert ours.namelist() == theirs.namelist()
        assert [ours.read(name) for name in ours.namelist()] == [theirs.read(name) for name in theirs.namelist()]


@pytest.mark.situation("a file of latents that NumPy compressed, or in Fortran's order or float64")
def test_other_files_of_latents_are_read(hcflow, tmp_path):
    paths = fakes.pictures(tmp_path, 5)
    images = np.stack([fakes.read(path) for path in paths])
    z: Any = {name: np.asfortranarray(array.astype(float)) for name, array in fakes.Model().encode(images).items()}
    np.savez_compressed("z.npz", images=np.array([p.name for p in paths]), checkpoint=np.array("portraits"), **z)
    assert hcflow("decode", "z.npz", "--out", "a")[0] == 0
    for path in paths:
        np.testing.assert_array_equal(fakes.read(Path("a", path.name)), fakes.read(path))


@pytest.mark.situation("very many images of the same name")
def test_names_are_told_apart_in_linear_time():
    names = latents_file.distinct(["a.png"] * 100_000)  # with a search through all for each it would take hours
    assert names[:3] == ["a", "a_2", "a_3"] and len(set(names)) == len(names)


@pytest.mark.situation("`hcflow report` stopped and repeated, or of a newer checkpoint")
def test_a_report_goes_on(tmp_path, monkeypatch, capsys):
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype(np.uint8)
    model: Any = fakes.Model()
    model.config = SimpleNamespace(sample=SimpleNamespace(count=4, seed=3, sigma=0.5))
    monkeypatch.setattr(api, "held_out", lambda config, count: images)
    go_on = _stop_after(monkeypatch, model, "zero", 0)
    with pytest.raises(KeyboardInterrupt):
        Report(tmp_path, model).write()
    go_on()
    assert set(_times(str(tmp_path / "report"))) == {"report.json", "samples.png", "reconstructions.png"}
    capsys.readouterr()
    model.calls.clear()
    Report(tmp_path, model).write()
    said = capsys.readouterr().out
    assert said.count("(finished before)") == 2 and "8 held-out pictures: worst error" in said
    assert not any(call[0] == "draw" for call in model.calls)
    assert len(json.loads((tmp_path / "report" / "report.json").read_text())["pictures"]) == 3
    monkeypatch.setattr(model, "fingerprint", "another model")
    Report(tmp_path, model).write()
    assert "finished before" not in capsys.readouterr().out
