"""A whole run on a tiny model: its files, and that one cut into pieces is the run that was not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import training_fakes as fakes
from PIL import Image

from hcflow_jax import checkpoint, stopping
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.config import ConfigError
from hcflow_jax.training import evaluate, loop, resumption, workdir


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    fakes.install(monkeypatch.setattr)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of six steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    config = fakes.config(folder / "images", eval_every=2, sample_every=3)
    with pytest.MonkeyPatch.context() as monkeypatch:
        fakes.install(monkeypatch.setattr)
        result = loop.train(config, folder / "run")
    return config, folder / "run", result


def history(directory, kind):
    rows = [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]
    timed = {"seconds", "input_wait", "images_per_second", "images_per_second_per_device"}
    return [{k: v for k, v in row.items() if k not in timed} for row in rows if row["kind"] == kind]


def assert_same_state(left, right):
    parts = ("step", "params", "opt_state", "ema")
    a, b = (checkpoint.load(path, parts) for path in (left, right))
    assert jax.tree.structure(a.arrays) == jax.tree.structure(b.arrays)
    for one, other in zip(jax.tree.leaves(a.arrays), jax.tree.leaves(b.arrays), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_leaves_what_it_should(whole):
    _, directory, result = whole
    assert [row["step"] for row in history(directory, "train")] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in history(directory, "eval")] == [0, 2, 4, 6]
    assert sorted(p.name for p in (directory / "samples").iterdir()) == ["step_000003.png", "step_000006.png"]
    with Image.open(directory / "samples" / "step_000006.png") as sheet:
        assert sheet.size == (16, 16)  # three images, two a row
    assert sorted(p.name for p in (directory / "checkpoints").iterdir()) == ["3", "6"]
    assert not list(directory.glob(".writable*")) and not list(directory.rglob("*.partial"))
    assert "| Name " in (directory / "parameters.txt").read_text()

    assert json.loads((directory / "result.json").read_text()) == result
    assert result["end"]["bits_per_dim"] < result["start"]["bits_per_dim"]
    assert result["end"]["images"] == 3  # the fourth only completed the batch
    assert result["end"]["by_level"].keys() == {"prior", "8"}
    assert result["parameters"] == {"encoder": 3, "decoder": 3, "flows": 9}
    assert result["resumed_from"] is None
    assert result["seconds"]["compiling"] > 0 and result["steps_per_second"] > 0


def test_a_resumed_run_is_the_uninterrupted_one(whole, tmp_path):
    config, directory, _ = whole
    first = config.copy_and_resolve_references()
    first.train.num_steps = 3
    loop.train(first, tmp_path)
    result = loop.train(config, tmp_path)
    assert result["resumed_from"] == 3
    assert_same_state(directory, tmp_path)
    assert history(tmp_path, "train") == history(directory, "train")
    assert [row for row in history(tmp_path, "eval") if row["step"] != 3] == history(directory, "eval")


def test_a_resumed_run_redoes_what_was_not_saved(whole, tmp_path, capsys):
    config, directory, _ = whole
    loop.train(config, tmp_path)
    (tmp_path / "checkpoints" / "6").rename(tmp_path / "6")
    loop.train(config, tmp_path)
    assert "resuming at step 3" in capsys.readouterr().out
    assert_same_state(directory, tmp_path)
    assert history(tmp_path, "train") == history(directory, "train")
    assert history(tmp_path, "eval") == history(directory, "eval")


def test_a_finished_run_is_left_as_it_is(whole):
    config, directory, result = whole
    assert loop.train(config, directory) == result
    assert json.loads((directory / "result.json").read_text()) == result
    assert len(history(directory, "eval")) == 4


def test_fewer_steps_than_the_checkpoint_has_are_refused(whole):
    config, directory, result = whole
    fewer = config.copy_and_resolve_references()
    fewer.train.num_steps = 2
    with pytest.raises(ConfigError, match=rf"^train\.num_steps is 2, but .* in {directory} is of step 6: set train"):
        loop.train(fewer, directory)
    assert json.loads((directory / "result.json").read_text()) == result


@pytest.mark.parametrize("second_program", [True, False])
def test_freezing_leaves_the_encoder_in_a_second_program_or_the_first(tmp_path, capsys, second_program):
    config = fakes.config(tmp_path / "images", images_per_epoch=8, freeze_epoch=1, checkpoint_every=2, num_steps=4)
    config.execution.freeze_program = second_program
    loop.train(config, tmp_path)
    said = "compiling the training step with the encoder frozen" in capsys.readouterr().out
    assert said == second_program
    parts = ("params", "opt_state")
    before, after = (checkpoint.load(tmp_path / "checkpoints" / str(n), parts).arrays for n in (2, 4))
    kept = [
        (run["params"]["encoder"], *(run["opt_state"][name]["encoder"] for name in ("count", "mu", "nu")))
        for run in (before, after)
    ]
    for old, new in zip(*(jax.tree.leaves(tree) for tree in kept), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.any(before["params"]["flows"]["8"]["b"] != after["params"]["flows"]["8"]["b"])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_exits(whole, tmp_path, monkeypatch, capsys, number, status):
    config, directory, _ = whole
    train = loop.Reporter.train

    def interrupt(self, step, metrics):
        train(self, step, metrics)
        if step == 1:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(loop.Reporter, "train", interrupt)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as exit_:
        loop.train(config, tmp_path)
    assert exit_.value.code == status
    assert isinstance(exit_.value, KeyboardInterrupt) == (number == signal.SIGINT)
    assert signal.getsignal(number) is before
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"{number.name}: saved step 2; the same command resumes there"
    assert checkpoint.load(tmp_path).step == 2

    monkeypatch.setattr(loop.Reporter, "train", train)
    loop.train(config, tmp_path)
    assert_same_state(directory, tmp_path)
    assert history(tmp_path, "train") == history(directory, "train")
    assert history(tmp_path, "eval") == history(directory, "eval")


@pytest.mark.parametrize(("program", "saved"), [("the training step", []), ("with the encoder frozen", ["2"])])
def test_a_signal_while_the_step_compiles_ends_at_once_and_loses_no_step(tmp_path, monkeypatch, program, saved):
    config = fakes.config(tmp_path / "images", images_per_epoch=8, freeze_epoch=1, checkpoint_every=100, eval_every=0)
    call = loop.Programs.__call__

    def interrupt(self, name, *args, **how):
        if name.endswith(program):
            os.kill(os.getpid(), signal.SIGTERM)
        return call(self, name, *args, **how)

    monkeypatch.setattr(loop.Programs, "__call__", interrupt)
    assert stopping.run(lambda: len(loop.train(config, tmp_path / "run"))) == 143
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == saved
    assert len(history(tmp_path / "run", "train")) == (2 if saved else 0)


def test_training_in_another_thread_leaves_signals_alone(whole, tmp_path):
    config, directory, _ = whole
    thread = threading.Thread(target=loop.train, args=[config, tmp_path])
    thread.start()
    thread.join()
    assert_same_state(directory, tmp_path)


@pytest.mark.full
def test_a_killed_process_resumes(tmp_path):
    """A process of its own, ended by SIGTERM."""
    code = (
        "import sys, pathlib, training_fakes as fakes; from hcflow_jax.training import loop; "
        "fakes.install(); folder = pathlib.Path(sys.argv[1]); "
        "config = fakes.config(folder / 'images', num_steps=1_000_000, log_every=10); "
        "loop.train(config, folder / 'run')"
    )
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}"}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment)
    try:
        deadline = time.monotonic() + 120
        written = tmp_path / "run" / "history.jsonl"
        while not (written.exists() and len(written.read_text().splitlines()) > 3):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    finally:
        process.kill()
    assert checkpoint.load(tmp_path / "run").step >= 30


def test_evaluation_of_a_checkpoint_agrees_with_the_runs_own(whole, tmp_path):
    config, directory, result = whole
    found = evaluate.evaluate(directory)
    assert found["step"] == 6
    # The run's own bound was another compilation of the same function: equal but for rounding.
    numbers, same = jax.tree.leaves({name: found[name] for name in result["end"]}), jax.tree.leaves(result["end"])
    assert numbers == pytest.approx(same, rel=1e-6)
    assert json.loads((directory / "eval.json").read_text()) == found

    fewer = config.copy_and_resolve_references()
    fewer.eval.images = 2
    assert evaluate.evaluate(directory, fewer)["images"] == 2
    fewer.model.statistics_group = 2
    with pytest.raises(ConfigError, match="model.statistics_group: 4 -> 2 differs from"):
        evaluate.evaluate(directory, fewer)
    with pytest.raises(CheckpointError, match="no checkpoints/"):
        evaluate.evaluate(tmp_path)


def test_a_model_without_a_density_reports_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fakes.Model, "likelihood", "undefined")
    result = loop.train(fakes.config(tmp_path / "images", num_steps=1), tmp_path)
    assert result["end"]["bits_per_dim"] is None and result["end"]["standard_error"] is None
    assert result["end"]["loss"] > 0
    assert "bits/dim undefined" in capsys.readouterr().out


def test_fields_that_changed_are_said(tmp_path):
    before = fakes.config(tmp_path / "images")
    now = before.copy_and_resolve_references()
    now.train.num_steps = 7
    assert resumption.changes(before, now) == ["train.num_steps: 6 -> 7"]
    assert resumption.changes(before, before) == []


def test_a_workdir_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--workdir=.*file/run cannot be written \(Not a directory\)"):
        workdir.place(tmp_path / "file" / "run")
