"""The `hcflow` command: what each subcommand computes and writes."""

import resource
import subprocess
import sys
from pathlib import Path

import cli_fakes as fakes
import jax
import numpy as np
import pytest
from PIL import Image

from hcflow_jax import api
from hcflow_jax.cli import command

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def hcflow(tmp_path, capsys, monkeypatch):
    """Runs the command in a folder of its own; gives its status, and the lines of stdout and stderr."""
    model = fakes.Model()
    loaded = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "load", lambda path=None, dtype="float32": loaded.append((path, dtype)) or model)
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore

    def run(*arguments):
        status = command.main([str(a) for a in arguments])
        out = capsys.readouterr()
        return status, out.out.splitlines(), out.err.splitlines()

    run.model, run.loaded = model, loaded
    yield run
    jax.config.update("jax_compilation_cache_dir", cache)


def test_sample_draws_a_sheet(hcflow):
    status, out, err = hcflow("sample", "--count", 4, "--seed", 3)
    assert (status, err) == (0, [])
    assert out == ["samples.png: 4 images of 8 pixels"]
    sheet, images = fakes.read(Path("samples.png")), hcflow.model.sample(4, seed=3)
    np.testing.assert_array_equal(
        sheet[::12, ::12], np.block([[[images[0]], [images[1]]], [[images[2]], [images[3]]]])
    )
    assert hcflow.loaded == [(None, "float32")]


def test_sample_writes_each_with_a_sigma_by_level(hcflow):
    status, out, _ = hcflow(
        *("sample", "--count", 5, "--each", "a/b", "--sigma", "4=0.5,8=0"),
        *("--dtype", "bfloat16", "--checkpoint", "portraits"),
    )
    assert status == 0 and len(out) == 1
    assert hcflow.loaded == [("portraits", "bfloat16")]
    assert ("draw", 3, 0, {"4": 0.5, "8": 0.0}) in hcflow.model.calls
    paths = sorted(Path("a/b").iterdir())
    np.testing.assert_array_equal(np.stack([fakes.read(p) for p in paths]), hcflow.model.sample(5))
    assert not Path("samples.png").exists()
    hcflow("sample", "--count", 2, "--each", "c", "--out", "d.png", "--columns", 2)
    assert len(list(Path("c").iterdir())) == 2 and fakes.read(Path("d.png")).shape == (96, 192, 3)


def test_samples_that_are_not_finite_are_counted(hcflow):
    hcflow.model.finite = False
    status, _, err = hcflow("sample", "--count", 4)
    assert status == 0
    assert err == [
        "note: 4 of 4 images have values that are not finite, in black or white; a smaller sigma makes fewer of them"
    ]


def test_reconstruct_says_how_far_off_it_is(hcflow, tmp_path, monkeypatch):
    paths = fakes.pictures(tmp_path, 9)
    status, out, err = hcflow("reconstruct", *paths, "--out", "r.png")
    assert (status, err) == (0, [])
    assert out[0].startswith("worst error ") and float(out[0].split()[2]) < 1e-6
    assert out[1:] == [f"changed 8-bit values: 0 of {9 * 8 * 8 * 3}", "r.png: 9 images"]
    sheet = fakes.read(Path("r.png"))
    assert sheet.shape[0] == 4 * 98 - 2  # two rows of eight and two of one
    margin = sheet.shape[1] - (8 * 98 - 2)
    for top in (0, 98):
        np.testing.assert_array_equal(sheet[top : top + 96 : 12, margin : margin + 96 : 12], fakes.read(paths[0]))

    exact = hcflow.model.decode

    def off_by_one_value(latents, as_float):
        decoded = exact(latents, as_float)
        decoded[0, 0, 0, 0] += 1.25 / 256
        return decoded

    monkeypatch.setattr(hcflow.model, "decode", off_by_one_value)
    _, out, _ = hcflow("reconstruct", paths[0])
    assert out[0].startswith("worst error 4.9e-03") and out[1].startswith("changed 8-bit values: 1 of ")
    assert Path("reconstructions.png").exists()


def test_interpolate_to_a_strip_between_a_picture_and_a_seed(hcflow, tmp_path):
    [path] = fakes.pictures(tmp_path, 1)
    arguments = ("--steps", 5, "--how", "spherical", "--space", "y_top", "--sigma", 0.4)
    status, out, _ = hcflow("interpolate", path, "seed:3", *arguments, "--out", "way.png")
    assert (status, out) == (0, ["way.png: 5 images"])
    assert ("interpolate", 5, "spherical", "y_top") in hcflow.model.calls
    assert ("draw", 1, 3, 0.4) in hcflow.model.calls
    strip = fakes.read(Path("way.png"))
    assert strip.shape == (96, 5 * 98 - 2, 3)
    np.testing.assert_array_equal(strip[::12, :96:12], fakes.read(path))
    np.testing.assert_array_equal(strip[::12, 4 * 98 :: 12], hcflow.model.sample(1, seed=3)[0])


def test_interpolate_to_videos(hcflow):
    for ending in ("gif", "mp4"):
        status, out, _ = hcflow("interpolate", "seed:1", "seed:2", "--steps", 4, "--out", f"a/way.{ending}")
        assert (status, out) == (0, [f"a/way.{ending}: 4 images"])
    with Image.open("a/way.gif") as video:
        assert (video.n_frames, video.size) == (4, (256, 256))  # pyright: ignore
    assert b"ftyp" in Path("a/way.mp4").read_bytes()[:16]


def test_edit_has_a_row_an_edit(hcflow, tmp_path):
    paths = fakes.pictures(tmp_path, 2)
    status, out, _ = hcflow("edit", *paths, "--resample", "4", "--zero", "8", "--seeds", "5,6", "--out", "e.png")
    assert (status, out) == (0, ["e.png: 2 images, 2 edits of each"])
    sheet, images = fakes.read(Path("e.png")), np.stack([fakes.read(p) for p in paths])
    left = sheet.shape[1] - (2 * 98 - 2)
    model, z = hcflow.model, hcflow.model.encode(images)
    expected = [images, *(model.decode(model.resample(model.zero(z, ["8"]), ["4"], seed)) for seed in (5, 6))]
    assert (expected[1] != expected[2]).any()
    for i, row in enumerate(expected):
        for j, image in enumerate(row):
            top, start = 98 * i, left + 98 * j
            np.testing.assert_array_equal(sheet[top : top + 96 : 12, start : start + 96 : 12], image)
    _, out, _ = hcflow("edit", *paths, "--zero", "4, 8")
    assert out == ["edits.png: 2 images, 1 edits of each"]


def test_encoded_pictures_decode_to_themselves(hcflow, tmp_path):
    (tmp_path / "other").mkdir()
    paths = [*fakes.pictures(tmp_path, 4), *fakes.pictures(tmp_path / "other", 1)]
    status, out, _ = hcflow("encode", *paths, "--out", "z.npz")
    assert (status, out) == (0, ["z.npz: 5 images, levels prior, y1, 4, 8"])
    with np.load("z.npz", allow_pickle=False) as file:
        assert list(file) == ["images", "checkpoint", *fakes.LEVELS]
        assert list(file["images"]) == [p.name for p in paths] and str(file["checkpoint"]) == api.BOXED[0]
        assert file["4"].shape == (5, 4, 4, 3) and file["4"].dtype == np.float32
    status, out, _ = hcflow("decode", "z.npz", "--out", "back", "--dtype", "bfloat16")
    assert (status, out) == (0, ["back: 5 images of 8 pixels"])
    assert hcflow.loaded == [(None, "float32"), (api.BOXED[0], "bfloat16")]
    names = [*(p.stem for p in paths[:4]), "picture0_2"]
    for name, path in zip(names, paths, strict=True):
        np.testing.assert_array_equal(fakes.read(Path("back", f"{name}.png")), fakes.read(path))
    hcflow("encode", paths[0], "--out", "z.npz", "--checkpoint", "runs/mine")
    hcflow("decode", "z.npz", "--out", "back")
    assert hcflow.loaded[-1][0] == str(tmp_path / "runs/mine")  # found again from any folder


def test_pictures_of_any_size_are_cropped_and_it_is_said_once(hcflow, tmp_path):
    paths = fakes.pictures(tmp_path, 3, size=(24, 16))
    status, _, err = hcflow("reconstruct", *paths)
    assert status == 0
    assert err == [f"note: {paths[0]}: cropped to its central square and resized to 8 pixels (said once)"]
    Image.new("L", (8, 8)).save("grey.png")
    _, _, err = hcflow("interpolate", "grey.png", paths[0], "--out", "way.png")
    assert [line.split(": ")[1] for line in err] == ["grey.png", str(paths[0])]


def _seconds_of_children():
    """Of the processor, not of the clock: a busy machine is no slower by it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_there_at_once():
    code = "import sys; from hcflow_jax.cli import main; main(sys.argv[1:])"
    check = "assert not {'jax', 'numpy', 'ml_collections'} & sys.modules.keys()"
    wrapped = f"import sys, atexit; atexit.register(lambda: exec({check!r})); {code}"
    started = _seconds_of_children()
    done = subprocess.run([sys.executable, "-c", wrapped, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert _seconds_of_children() - started < 0.5
    for name, summary in command.COMMANDS.items():
        assert name in done.stdout and summary[:30] in done.stdout


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_subcommand_has_help_and_needs_no_jax_for_it(name, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hcflow_jax.cli.use", None)
    assert command.main([name, "--help"]) == 0
    assert f"hcflow {name}" in capsys.readouterr().out
