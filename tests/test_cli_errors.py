"""The `hcflow` command: one line and status 2 for whatever a person can put right, and nothing half written."""

import subprocess
import sys
from pathlib import Path

import cli_fakes as fakes
import jax
import numpy as np
import pytest

from hcflow_jax import api
from hcflow_jax.cli import command, latents_file

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def refused(tmp_path, capsys, monkeypatch):
    """Runs the command in a folder with two pictures, and gives its one line."""
    monkeypatch.chdir(tmp_path)
    fakes.pictures(tmp_path, 2)
    (tmp_path / "text.png").write_text("no picture")
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore

    def run(*arguments, model=True):
        if model:
            monkeypatch.setattr(api, "load", lambda *_, **__: fakes.Model())
        assert command.main([str(a) for a in arguments]) == 2
        out = capsys.readouterr()
        lines = out.err.splitlines()
        assert out.out == "" and len(lines) == 1 and lines[0].startswith("error: ")
        return lines[0]

    yield run
    jax.config.update("jax_compilation_cache_dir", cache)


A, B = "picture0.png", "picture1.png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "COMMAND (hcflow --help"),
        ("paint", "invalid choice: 'paint'"),
        ("--dtype float32 sample", "hcflow --help"),
        ("sample --cuont 3", "unrecognized arguments: --cuont 3 (hcflow sample --help"),
        ("sample --count 0", "--count: '0': expected a count, a whole number from 1 on"),
        ("sample --count x", "--count: 'x': expected a count"),
        ("sample --seed 4294967296", "expected a seed, a whole number from 0 to 4294967295"),
        ("sample --sigma -1", "--sigma: '-1': expected a number that is not negative"),
        ("sample --sigma nan", "--sigma: 'nan': expected a number"),
        ("sample --sigma 8=0.5,16", "--sigma: '8=0.5,16': expected a number"),
        ("sample --sigma 8=1,8=2", "--sigma: '8=1,8=2': expected a number, or one for each level"),
        ("sample --sigma 16=0.5", "--sigma: no level '16'; this model has prior, y1, 4, 8"),
        ("sample --dtype float16", "--dtype: invalid choice: 'float16'"),
        ("encode a.png --out z.npz --dtype bfloat16", "unrecognized arguments: --dtype bfloat16"),
        ("sample --out a.jpg", "--out a.jpg: must end in .png"),
        ("sample --out text.png/a.png", "--out text.png/a.png: cannot be written (Not a directory); name another"),
        ("sample --each text.png", "--each text.png: cannot be written (Not a directory)"),
        ("reconstruct", "required: IMAGE"),
        ("reconstruct absent.png", "absent.png: cannot be read as a picture (no such file)"),
        (f"reconstruct {A} text.png", "text.png: cannot be read as a picture (of no known format)"),
        (f"interpolate {A} --out a.gif", "required: END"),
        (f"interpolate {A} {B}", "required: --out"),
        (f"interpolate {A} {B} --out a.avi", "--out a.avi: must end in .mp4 or .gif or .png"),
        (f"interpolate {A} seed:x --out a.gif", "'x': expected a seed"),
        (f"interpolate {A} absent.png --out a.gif", "absent.png: cannot be read"),
        (f"interpolate {A} {B} --steps 1 --out a.gif", "--steps: '1': expected a count, a whole number from 2 on"),
        (f"interpolate {A} {B} --how curved --out a.gif", "--how: invalid choice: 'curved'"),
        (f"interpolate {A} {B} --space y --out a.gif", "--space: invalid choice: 'y'"),
        (f"interpolate {A} {B} --sigma 16=1 --out a.gif", "--sigma: no level '16'"),
        (f"edit {A}", "give --resample LEVELS, --zero LEVELS, or both"),
        (f"edit {A} --resample 4 --zero 8,4", "--resample and --zero both name level '4'"),
        (f"edit {A} --resample 4,16", "--resample: no level '16'; this model has prior, y1, 4, 8"),
        (f"edit {A} --zero 16", "--zero: no level '16'"),
        (f"edit {A} --zero 4,", "--zero: '4,': expected levels such as 8,32"),
        (f"edit {A} --resample 4 --seeds 1,b", "--seeds: 'b': expected a seed"),
        (f"edit {A} --resample 4 --sigma 16=1", "--sigma: no level '16'"),
        (f"encode {A} --out z.npy", "--out z.npy: must end in .npz"),
        ("decode absent.npz --out d", "absent.npz: no such file"),
        ("decode text.png --out d", "text.png: cannot be read as a file of latents"),
        ("report", "required: --workdir"),
    ],
)
def test_mistakes_give_one_line(refused, arguments, message, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert message in refused(*arguments.split())
    assert sorted(tmp_path.iterdir()) == before


def test_a_missing_model_is_named(refused):
    assert "--checkpoint: " in (line := refused("sample", "--checkpoint", "absent", model=False))
    assert "absent: no such directory or file, and not a bundled model (portraits" in line
    assert "absent: no such directory" in refused("report", "--workdir", "absent", model=False)


def test_a_missing_ffmpeg_is_said_before_anything_is_computed(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr(fakes.Model, "draw", lambda *_: pytest.fail("computed first"))
    assert "pip install 'hcflow_jax[pictures]'" in refused("interpolate", "seed:1", "seed:2", "--out", "a.mp4")


class _Payload:
    def __reduce__(self):
        return Path("hacked").touch, ()


def _latents(**changed):
    arrays = dict(images=np.array(["a.png", "b.png"]), checkpoint=np.array("portraits"))
    arrays |= {name: np.zeros((2, *shape), np.float32) for name, shape in fakes.SHAPES.items()}
    return {name: array for name, array in {**arrays, **changed}.items() if array is not None}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(images=None), "has no 'images', so it is not a file of latents"),
        (dict(checkpoint=np.zeros(3)), "has no 'checkpoint'"),
        ({name: None for name in fakes.LEVELS}, "has no latents"),
        ({"4": np.zeros((3, 4, 4, 3), "f")}, "level '4' is float32 (3, 4, 4, 3) for 2 images"),
        ({"4": np.zeros((2, 4, 4, 3), int)}, "level '4' is int64"),
        ({"4": np.full((2, 4, 4, 3), np.nan)}, "level '4' has values that are not finite"),
        ({"4": np.zeros((2, 5, 5, 3), "f")}, "level 4 have shape (2, 5, 5, 3); give another model with --checkpoint"),
        ({"4": np.array([_Payload()] * 2)}, "cannot be read as a file of latents"),
    ],
)
def test_a_foreign_file_of_latents_is_refused(refused, changed, message):
    np.savez("z.npz", **_latents(**changed))
    line = refused("decode", "z.npz", "--out", "d")
    assert line.startswith("error: z.npz: ") and message in line
    assert not Path("hacked").exists()


def test_a_damaged_file_of_latents_is_refused(refused):
    np.savez("z.npz", **_latents())
    whole = Path("z.npz").read_bytes()
    middle = len(whole) // 2
    damaged = [whole[:middle], whole[:middle] + b"damage" + whole[middle + 6 :], b""]
    for content in damaged:
        Path("z.npz").write_bytes(content)
        assert "z.npz: cannot be read as a file of latents" in refused("decode", "z.npz", "--out", "d")
    np.save("one.npy", np.zeros(3))
    assert "one.npy: cannot be read as a file of latents" in refused("decode", "one.npy", "--out", "d")


def test_names_of_images_stay_in_the_folder_and_apart():
    names = ["a.png", "../../etc/a.jpg", "..\\a.gif", "a_2.png", "", ".."]
    given = latents_file.distinct(names)
    assert given[:3] == ["a", "a_2", "a_3"] and len(set(given)) == len(names)
    assert all(Path("d", f"{name}.png").resolve().parent == Path("d").resolve() for name in given)


@pytest.mark.full
def test_the_module_is_the_command(tmp_path):
    for module in (["hcflow_jax", "report"], ["hcflow_jax.cli.report"]):
        command_line = [sys.executable, "-m", *module, "--workdir", str(tmp_path / "absent")]
        done = subprocess.run(command_line, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ") and "absent: no such directory" in done.stderr
        assert len(done.stderr.splitlines()) == 1
