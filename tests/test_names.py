"""Files and folders of any name, in every command: read, written, told."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import cli_fakes as fakes
import compare_runs
import jax
import numpy as np
import pytest
import training_fakes
from odd_names import ODD
from safetensors.numpy import load_file

from hcflow_jax import api, box, checkpoint, main, pictures
from hcflow_jax.cli import command
from hcflow_jax.config import default
from hcflow_jax.data import open_source, shards
from hcflow_jax.data.lsun import Lsun
from hcflow_jax.interop import export_torch

ROOT = Path(__file__).resolve().parents[1]
LATIN_1 = os.fsdecode(b"caf\xe9")


def _file(name: str, ending: str) -> str:
    return f"{name[: 255 - len(ending)]}{ending}"


@pytest.fixture
def hcflow(tmp_path, monkeypatch):
    """Runs the command with a model of plain arithmetic in a folder of its own, on a terminal that is ASCII only."""
    monkeypatch.chdir(tmp_path)
    loaded = []
    monkeypatch.setattr(api, "load", lambda path=None, **_: loaded.append(path) or fakes.Model())
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore

    def run(*arguments):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
        with monkeypatch.context() as patched:
            patched.setattr("sys.stdout", streams[0])
            patched.setattr("sys.stderr", streams[1])
            status = command.main([str(a) for a in arguments])
        said = []
        for stream in streams:
            stream.flush()
            said.append(stream.buffer.getvalue().decode("ascii"))
        assert (status, said[1]) == (0, "")
        return said[0]

    run.loaded = loaded
    yield run
    jax.config.update("jax_compilation_cache_dir", cache)


@pytest.mark.situation("a name that is not UTF-8, or not in the terminal's characters")
@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_every_subcommand_reads_and_writes_any_name(hcflow, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    [made] = fakes.pictures(tmp_path, 1)
    picture = folder / _file(name, ".png")
    made.rename(picture)
    image = fakes.read(picture)
    hcflow("sample", "--count", 2, "--out", f"./{_file(name, '.png')}", "--each", folder / "each")
    assert fakes.read(tmp_path / _file(name, ".png")).any() and len(list((folder / "each").iterdir())) == 2
    hcflow("sample", "--count", 2, "--npz", folder / _file(name, ".npz"))
    hcflow("encode", picture, "--out", folder / _file(name, ".npz"), "--checkpoint", folder)
    hcflow("decode", folder / _file(name, ".npz"), "--out", folder / "back")
    assert hcflow.loaded[-1] == str(folder)  # the file says which model it is of
    back = picture.name.split("\\")[-1]  # as of a file of latents that was made on Windows
    np.testing.assert_array_equal(fakes.read(folder / "back" / back), image)
    hcflow("reconstruct", picture, "--out", folder / "r.png")
    hcflow("edit", picture, "--zero", "4", "--out", folder / "e.png")
    told = hcflow("interpolate", picture, "seed:1", "--steps", 3, "--out", folder / _file(name, ".gif"))
    assert told.endswith("3 images\n") and (r"caf\xe9" in told) == (name == LATIN_1)
    assert not [path.name for path in (*tmp_path.iterdir(), *folder.iterdir()) if path.name.endswith("partial")]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_runs_of_any_name_are_compared(hcflow, tmp_path, monkeypatch, name):
    monkeypatch.setattr(pictures, "panels", lambda path, rows: pictures.save_png(path, np.zeros((1, 1, 3), np.uint8)))
    for part in ("a", "b"):
        compare_runs.write(tmp_path / name / part, compare_runs.rows())
    out, table = tmp_path / name / _file(name, ".png"), tmp_path / name / _file(name, ".json")
    told = hcflow(
        "compare", tmp_path / name / "a", "--reference", tmp_path / name / "b", "--out", out, "--json", table
    )
    assert "verdict: on track at step 1,100" in told and out.exists()
    assert json.loads(table.read_text())["run"] == str(tmp_path / name / "a")


@pytest.mark.situation(
    "a picture whose name has 255 bytes and no ending, or characters that a file name cannot have elsewhere"
)
def test_decoded_pictures_have_names_that_files_can_have(hcflow, tmp_path):
    [made] = fakes.pictures(tmp_path, 1)
    made.rename(long := tmp_path / ("é" * 127))
    hcflow("encode", long, long, "--out", "z.npz")
    with np.load("z.npz") as file:
        arrays = {**file, "images": np.array(["\ud800.png", str(long.name)])}
    np.savez("other.npz", **arrays)
    for latents in ("z.npz", "other.npz"):
        hcflow("decode", latents, "--out", latents[:-4])
    assert sorted(path.name for path in Path("z").iterdir()) == ["é" * 124 + "_2.png", "é" * 125 + ".png"]
    assert sorted(path.name for path in Path("other").iterdir()) == ["\\ud800.png", "é" * 125 + ".png"]


def test_a_folder_of_a_models_name_is_written_as_a_path(hcflow, tmp_path):
    [picture] = fakes.pictures(tmp_path, 1)
    (tmp_path / "portraits").mkdir()
    for given, stored in (
        ([], box.NAMES[0]),
        (["--checkpoint", "portraits"], "portraits"),
        (["--checkpoint", "./portraits"], str(tmp_path / "portraits")),
    ):
        hcflow("encode", picture, "--out", "z.npz", *given)
        hcflow("decode", "z.npz", "--out", "back")
        assert hcflow.loaded[-2:] == [given[1] if given else None, stored]


def test_the_default_model_is_that_of_the_box_whatever_lies_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    default = box.NAMES[0]
    (tmp_path / default).mkdir()
    assert api.load().config == api.load(default).config == checkpoint.load(box.weights(default)).config
    with pytest.raises(checkpoint.CheckpointError, match=f"{default}: no checkpoints/ in it"):
        api.load(f"./{default}")


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_weights_are_saved_and_read_under_any_name(tmp_path, name):
    params = {"flows": {"a": np.arange(3, dtype=np.float32)}}
    step = checkpoint.save_weights(tmp_path / name, params, default())
    assert step == tmp_path / name / "checkpoints" / "0"
    for where in (tmp_path / name, step):
        np.testing.assert_array_equal(checkpoint.load(where).arrays["ema"]["flows"]["a"], params["flows"]["a"])
    file = tmp_path / name / _file(name, ".safetensors")
    checkpoint.save_file(file, params, default(), {})
    checkpoint.amend_file(file, {"step": 3})
    assert checkpoint.load(file).step == 3
    (step / "metadata" / "metadata").write_text("damaged")
    with pytest.raises(checkpoint.CheckpointError) as error:
        checkpoint.load(step)
    assert str(step) in str(error.value)


@pytest.mark.parametrize("name", [LATIN_1, "a[b]*"], ids=ascii)
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_a_model_is_exported_under_any_name(tmp_path, monkeypatch, name, ending):
    checkpoint.save_weights(tmp_path / name, {"flows": {}}, default())
    flat = {"w": np.ones(3, np.float32)}
    monkeypatch.setattr(export_torch, "state_dict", lambda *_: flat)
    out = tmp_path / f"{name}{ending}"
    assert export_torch.main([str(tmp_path / name), "--out", str(out)]) == 0
    if ending == ".safetensors":
        np.testing.assert_array_equal(load_file(out)["w"], flat["w"])
    assert out.stat().st_size > 12


@pytest.mark.full
@pytest.mark.situation("a workdir whose name has `[`, `*`, a line break, or is not UTF-8")
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_a_run_is_saved_and_resumes_under_any_name(tmp_path, monkeypatch, capfd):
    name = f"r[u]n*?\n{LATIN_1}".ljust(252, "x")  # 255 bytes
    training_fakes.install(monkeypatch.setattr)
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore
    config = tmp_path / f"my [1] {LATIN_1}.v2.py"
    config.write_text(
        "import pathlib, training_fakes\n"
        "def get_config():\n    return training_fakes.config(pathlib.Path('pictures'), checkpoint_every=1)\n"
    )
    monkeypatch.chdir(tmp_path)
    training_fakes.config(tmp_path / f"~[{LATIN_1}\n")
    arguments = ["main", f"--config={config}", f"--workdir={name}", f"--config.data.path=~[{LATIN_1}\n"]
    try:
        assert main.main([*arguments, "--config.train.num_steps=1", "--profile=1:1"]) == 0
        assert main.main([*arguments, "--config.train.num_steps=2"]) == 0
        assert main.main(["main", f"--workdir={name}", "--mode=eval"]) == 0
    finally:
        jax.config.update("jax_compilation_cache_dir", cache)
    said = capfd.readouterr()
    assert "resuming at step 1" in said.out and "Traceback" not in said.err and "error" not in said.err
    assert sorted(path.name for path in Path(name, "checkpoints").iterdir()) == ["1", "2"]
    assert any(Path(name, "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_sets_lie_under_any_name(tmp_path, name):
    import zipfile

    import lmdb

    folder = tmp_path / name
    folder.mkdir()
    [picture] = fakes.pictures(tmp_path, 1)
    with zipfile.ZipFile(tmp_path / _file(name, ".zip"), "w") as archive:
        archive.write(picture, "a.png")
    with lmdb.open(os.fsencode(folder), map_size=1 << 24) as database, database.begin(write=True) as transaction:
        transaction.put(b"0", picture.read_bytes())
    shards.write(folder / "set", iter([fakes.read(picture)]), resolution=fakes.SIZE, source={})
    picture.rename(folder / picture.name)
    for kind, where in (("zip", _file(name, ".zip")), ("lsun", name), ("folder", name), ("prepared", f"{name}/set")):
        config = default()
        config.data.update(source=kind, path=str(tmp_path / where), resolution=fakes.SIZE, eval_images=0)
        np.testing.assert_array_equal(open_source(config, "train")[0], fakes.read(folder / picture.name))
    Lsun(folder)._environment.close()


@pytest.mark.full
@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_a_whole_command_ends_well_on_a_terminal_that_is_strict(tmp_path, encoding):
    folder = tmp_path / "画"
    folder.mkdir()
    fakes.pictures(folder, 1)
    (folder / f"{LATIN_1}.png").write_bytes(b"junk")
    arguments = ["--source", "folder:画", "--resolution", "8", "--workers", "1", "--out", "out"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-m", "hcflow_jax.data.prepare", *arguments]
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    folder_shown = "画" if encoding.startswith("utf-8") else r"\u753b"
    assert done.stdout.decode().splitlines()[-1].startswith(rf"the first: {folder_shown}/caf\xe9.png: ")
