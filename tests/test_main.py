"""The command: what it runs, and one line and a status for whatever a person can put right."""

import os
import re

import jax
import pytest
import training_fakes as fakes

from hcflow_jax import main

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections' own

CONFIG = """
from pathlib import Path
import training_fakes as fakes

def get_config():
    return fakes.config(Path({folder!r}))
"""


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    """Runs the command on a config file; gives its status, and the lines of stdout and stderr."""
    fakes.install(monkeypatch.setattr)
    file = tmp_path / "tiny.py"
    file.write_text(CONFIG.format(folder=str(tmp_path / "images")))
    cache = jax.config.jax_compilation_cache_dir  # pyright: ignore

    def run(*arguments, config=file, workdir=tmp_path / "run"):
        given = [f"--config={config}"] if config else []
        given += [f"--workdir={workdir}"] if workdir else []
        status = main.main(["hcflow_jax.main", *given, *arguments])
        out = capsys.readouterr()
        return status, out.out.splitlines(), out.err.splitlines()

    yield run
    jax.config.update("jax_compilation_cache_dir", cache)


def test_train_then_eval(command, tmp_path):
    status, out, err = command("--config.train.num_steps=2")
    assert (status, err) == (0, [])
    assert out[-1] == f"done: {tmp_path / 'run' / 'result.json'}"
    assert any(line.startswith("step 2/2  loss") for line in out)
    status, out, err = command("--mode=eval", config=None)
    assert (status, err) == (0, [])
    assert out[-1].startswith("step 2  held-out bits/dim")
    assert (tmp_path / "run" / "eval.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.train.num_step=3"], "--config.train.num_step: no field 'num_step' .* mean 'num_steps'"),
        (["--config.trian.num_steps=3"], "--config.trian.num_steps: no field 'trian' .* mean 'train'"),
        (["--config.train.num_steps=three"], "--config.train.num_steps=three: must be a whole number"),
        (["--config.train.clip_norm=x"], "--config.train.clip_norm=x: must be a number"),
        (
            ["--config.train=3"],
            "--config.train=3: is a group of fields; set one of them, as --config.train.NAME=VALUE",
        ),
        (["--allow_config_change=maybe"], "--allow_config_change=maybe: must be true or false"),
        (["--wrkdir=x"], "Unknown command line flag 'wrkdir'"),
        (["--mode=test"], "flag --mode=test: value should be one of <train|eval|check>"),
        (["stray"], "'stray' is no option: all begin with --"),
        (["--num_processes=2", "--process_id=0", "--coordinator_address=a:70000"], "a:70000: expected HOST:PORT"),
        (["--profile=3"], "--profile=3: expected FIRST:LAST"),
        (["--profile=3:2"], "--profile=3:2: expected FIRST:LAST"),
        (["--profile=6:7"], "--profile=6:7: the run ends at step 6"),
        (["--profile=1:2", "--mode=eval"], "--profile traces training steps"),
        (["--num_processes=2"], "--coordinator_address and --process_id missing: several processes need all of"),
        (["--config.data.path=/nowhere"], "/nowhere: no such folder; data.path names the folder of images"),
        (["--config.data.source=ffhq"], "data.source is 'ffhq': expected portraits, prepared, folder"),
        (["--config.train.init_images=400"], "train.init_images is 400"),
        (["--mode=eval"], "run: no such directory; give a workdir"),
    ],
)
def test_mistakes_give_one_line(command, arguments, message):
    status, _, err = command(*arguments)
    assert status == 2
    assert len(err) == 1 and err[0].startswith("error: ")
    assert re.search(message, err[0])


def test_missing_flags_and_files_give_one_line(command, tmp_path):
    for given, message in (
        (dict(config=None), "--config is missing"),
        (dict(workdir=None), "--workdir is missing"),
        (dict(config=tmp_path / "absent.py"), "absent.py: no such config file; the presets are ablation, "),
        (dict(config=tmp_path), "no such config file"),
        (dict(config="demo:x"), "--config=demo:x: takes no argument after the colon"),
        (dict(workdir=tmp_path / "tiny.py" / "run"), "cannot be written (Not a directory)"),
    ):
        status, _, err = command(**given)
        assert status == 2
        assert len(err) == 1 and message in err[0]


def test_a_mistake_in_a_config_file_gives_one_line(command, tmp_path):
    wrong = {
        "c.train.num_step = 3": "no field 'num_step' in the config; did you mean 'num_steps'?",
        "c.model.levels = schema.levels({8: schema.level(foo=1, **row)})": "level has no field 'foo'",
        "c.train.num_steps = 'x'": "num_steps",
        "c.train.num_steps = 'x": "is not Python",
        "raise RuntimeError('no\\nwhere')": "no",
    }
    row = "row = dict(channels=3, steps=(), hidden=4, condition=4, encoder=4, decoder=4)"
    for i, (line, message) in enumerate(wrong.items()):
        file = tmp_path / f"wrong{i}.py"
        file.write_text(
            f"from hcflow_jax import config as schema\n{row}\n"
            f"def get_config():\n    c = schema.default()\n    {line}\n    return c\n"
        )
        status, _, err = command(config=file)
        assert status == 2
        assert len(err) == 1 and message in err[0]


def test_help(command):
    status, out, _ = command("--help", config=None, workdir=None)
    assert status == 0
    assert any("--config.train.num_steps=1000" in line for line in out)
    assert any("--workdir" in line for line in out)


def test_compiled_programs_are_kept(command, monkeypatch, tmp_path):
    from hcflow_jax.compiling import enable_compilation_cache

    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert enable_compilation_cache() == tmp_path / "hcflow_jax" / "xla"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", os.fspath(tmp_path / "own"))
    assert enable_compilation_cache() == tmp_path / "own"
