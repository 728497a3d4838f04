"""What is no path of this machine, in every command and function: one line, before anything is made or compiled."""

from typing import Any

import jax
import numpy as np
import pytest

from hcflow_jax import api, checkpoint, main, pictures
from hcflow_jax.api import sampler_file
from hcflow_jax.cli import command
from hcflow_jax.config import default
from hcflow_jax.data import open_encoded, open_source, prepare
from hcflow_jax.errors import InputError
from hcflow_jax.interop import export_torch, import_torch
from hcflow_jax.training import evaluate, loop

REFUSED = {
    "hcflow": [
        "sample --out gs://b/a.png",
        "sample --each gs://b/a",
        "sample --checkpoint ftp://b/a",
        "reconstruct gs://b/a.png",
        "reconstruct a.png --out gs://b/a",
        "interpolate gs://b/a.png seed:1 --out a.gif",
        "interpolate seed:1 seed:2 --out gs://b/a.gif",
        "edit gs://b/a.png --zero 8",
        "edit a.png --zero 8 --out gs://b/a.png",
        "encode gs://b/a.png --out z.npz",
        "encode a.png --out gs://b/z.npz",
        "decode gs://b/z.npz --out d",
        "decode z.npz --out gs://b/d",
        "report --workdir ftp://b/run",
        "compare ftp://b/run",
        "compare run --reference ftp://b/run",
        "compare run --out gs://b/a.png",
    ],
    "main": [
        "--config=demo --workdir=ftp://b/run",
        "--config=gs://b/c.py --workdir=run",
        "--config=demo --workdir=run --config.data.path=ftp://b/set",
        "--config=demo --workdir=run --config.data.eval_path=ftp://b/set",
        "--config=demo --workdir=run --config.train.init_from=ftp://b/run",
        "--mode=eval --workdir=ftp://b/run",
    ],
    "prepare": [
        "--source folder:gs://b/a --out o --resolution 8",
        "--source zip:gs://b/a.zip --out o --resolution 8",
        "--source lsun:gs://b/a --out o --resolution 8",
        "--source tfds:mnist --data-dir gs://b/a --out o --resolution 8",
        "--source folder:. --out ftp://b/o --resolution 8",
        "--check ftp://b/o",
    ],
    "import": ["gs://b/a.bin --out o", "a.bin --out ftp://b/o", "a.bin --out o --config gs://b/c.py"],
    "export": ["ftp://b/run --out a.pt", "run --out gs://b/a.pt"],
}
COMMANDS = {
    "hcflow": command.main,
    "main": lambda argv: main.main(["main", *argv]),
    "prepare": prepare.main,
    "import": import_torch.main,
    "export": export_torch.main,
}


@pytest.mark.situation("a bucket for an output, a picture or a config")
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections' own
@pytest.mark.parametrize(("name", "line"), [(name, line) for name, lines in REFUSED.items() for line in lines])
def test_a_bucket_is_refused_before_anything_is_made(name, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jax, "jit", lambda *_, **__: pytest.fail("compiles"))
    assert COMMANDS[name](line.split()) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith("error: ") and ":// is not on this machine's file systems" in said.err
    assert not any(tmp_path.iterdir())


def test_functions_refuse_a_bucket_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jax, "jit", lambda *_, **__: pytest.fail("compiles"))
    config: Any = default()
    where = "ftp://b/a"
    for call in (
        lambda: api.load(where),
        lambda: sampler_file.write(where, config, {}, "float32", 1),
        lambda: loop.train(config, where),
        lambda: loop.train(_with(config, "ftp://b/set"), "run"),
        lambda: evaluate.evaluate(where),
        lambda: checkpoint.load(where),
        lambda: checkpoint.Checkpoints(where, keep=1),
        lambda: checkpoint.save_weights(where, {}, config),
        lambda: checkpoint.save_file(where, {}, config, {}),
        lambda: pictures.save_png(where, np.zeros((2, 2, 3), np.uint8)),
        lambda: pictures.save_gif(where, np.zeros((2, 2, 2, 3), np.uint8)),
        lambda: open_source(_with(config, where), "train"),
        lambda: open_encoded("folder", where),
    ):
        with pytest.raises(InputError, match="ftp:// is not on this machine's file systems"):
            call()
    assert not any(tmp_path.iterdir())


def _with(config, path):
    config = config.copy_and_resolve_references()
    config.data.update(source="folder", path=path)
    return config


@pytest.mark.situation("an empty path, for example from an unset variable")
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_an_empty_path_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, arguments in (
        ("hcflow", ["sample", "--out", ""]),
        ("hcflow", ["sample", "--checkpoint", ""]),
        ("main", ["--config=demo", "--workdir="]),
        ("prepare", ["--source", "folder:.", "--out", "", "--resolution", "8"]),
        ("export", ["", "--out", "a.pt"]),
    ):
        assert COMMANDS[name](arguments) == 2
        assert "is empty: name a file or folder" in capsys.readouterr().err
