"""Whose a workdir is: of one run at a time, and of one config unless another is asked for."""

import os
import re
import signal
import subprocess
import sys

import pytest
import training_fakes as fakes

from hcflow_jax import checkpoint, files
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.config import ConfigError
from hcflow_jax.layout import HISTORY, LOCK, SKIPPED
from hcflow_jax.training import loop, resumption, workdir
from hcflow_jax.training.metrics import History
from hcflow_jax.training.workdir import only_run

HOLDER = """
import fcntl, os, sys, time
file = open(sys.argv[1], "a+")
fcntl.flock(file, fcntl.LOCK_EX)
file.write(f"{os.getpid()}\\n")
file.flush()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    fakes.install(monkeypatch.setattr)


def test_a_second_run_is_told_who_the_first_is_until_that_is_dead(tmp_path):
    config = fakes.config(tmp_path / "images", num_steps=1, eval_every=0)
    run = tmp_path / "run"
    run.mkdir()
    command = [sys.executable, "-c", HOLDER, str(run / LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(ConfigError, match=f"^--workdir={run}: process {holder.pid} is training in it"):
                loop.train(config, run)
            assert [path.name for path in run.iterdir()] == [LOCK]
        finally:
            holder.send_signal(signal.SIGKILL)
        assert holder.wait() == -signal.SIGKILL
    assert (run / LOCK).read_text() == f"{holder.pid}\n"
    loop.train(config, run)
    assert (run / LOCK).read_text() == f"{os.getpid()}\n"
    with only_run(run):
        assert checkpoint.load(run).step == 1  # reading needs no lock


def test_another_config_is_refused_with_all_its_differences_unless_it_is_wanted(tmp_path, capsys):
    config = fakes.config(tmp_path / "images", num_steps=1, eval_every=0)
    loop.train(config, tmp_path / "run")
    config.train.update(dict(num_steps=2, clip_norm=10.0))
    config.data.flip = False
    refused = (
        r"^the checkpoint was trained with another config: data\.flip: True -> False; "
        r"train\.clip_norm: 50\.0 -> 10\.0; set it back, .*--allow_config_change"
    )
    with pytest.raises(ConfigError, match=refused) as error:
        loop.train(config, tmp_path / "run")
    assert "num_steps" not in str(error.value) and "\n" not in str(error.value)
    assert checkpoint.load(tmp_path / "run").step == 1 and not (tmp_path / "run" / "unreadable").exists()
    loop.train(config, tmp_path / "run", allow_config_change=True)
    assert "a field changed since it was saved: train.clip_norm: 50.0 -> 10.0" in capsys.readouterr().out
    loop.train(config, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run").config.train.clip_norm == 10.0


def test_what_does_not_change_what_is_trained_may_differ(tmp_path):
    config = fakes.config(tmp_path / "images")
    other = config.copy_and_resolve_references()
    counts = ("num_steps", "log_every", "eval_every", "sample_every", "checkpoint_every", "keep_checkpoints")
    other.train.update({name: 77 for name in (*counts, "keep_every", "max_skipped")})
    other.data.update(dict(path="/elsewhere", read_threads=0, read_timeout=1.0, allow_other_images=True))
    other.execution.backward = "reversible"
    other.eval.images, other.sample.count = 1, 1
    resumption.check(config, other)
    for field, value in (("seed", 1), ("train.batch_size", 8), ("model.statistics_group", 2), ("data.bits", 5)):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({field: value})
        with pytest.raises(ConfigError, match=rf"config: {field}: .* -> {value}; set it back"):
            resumption.check(config, changed)
        resumption.check(config, changed, allow=True)


@pytest.mark.parametrize("allow", [False, True])
def test_another_optimizer_is_refused_whatever_is_allowed(tmp_path, allow):
    """Adam's and Adamax's moments have the same shapes, but not the same meaning."""
    config = fakes.config(tmp_path / "images")
    for name in ("adamax", "muon"):
        changed = config.copy_and_resolve_references()
        changed.train.optimizer = name
        with pytest.raises(ConfigError, match=rf"^train\.optimizer: adam -> {name}: .* train\.init_from=WORKDIR$"):
            resumption.check(config, changed, allow)


def test_histories_are_on_the_disk_before_a_checkpoint_is(tmp_path, monkeypatch, capsys):
    """A power cut must not leave a checkpoint with a shorter history."""
    place, synced = workdir.Workdir(tmp_path, tmp_path), []
    monkeypatch.setattr(files, "sync", synced.append)
    monkeypatch.setattr(workdir, "sync", lambda path: synced.append(path.name))
    place.before_save()
    assert synced == []
    for name in (HISTORY, SKIPPED):
        History(tmp_path, 0, name)
        assert synced.pop() == tmp_path and synced.pop().name.startswith(f".{name}.")  # the folder, and the new file
    place.before_save()
    assert synced == [HISTORY, SKIPPED]

    def fail(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(workdir, "sync", fail)
    place.before_save()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("warning: ") and f"{HISTORY}" in said[0]


def test_a_save_that_fails_is_said_by_the_next_step_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    config = fakes.config(tmp_path / "images", num_steps=9, eval_every=0, checkpoint_every=3)
    fail_at(monkeypatch, 6)
    loop.train(config, tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and re.search("^error: .*checkpoints/6 could not be saved.*No space left", said[0])
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == ["3", "9"]


def test_a_last_save_that_fails_ends_the_run_with_the_error(tmp_path, monkeypatch):
    config = fakes.config(tmp_path / "images", num_steps=6, eval_every=0, checkpoint_every=3)
    fail_at(monkeypatch, 6)
    with pytest.raises(CheckpointError, match="checkpoints/6 could not be saved"):
        loop.train(config, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run").step == 3 and not (tmp_path / "run" / "result.json").exists()


def fail_at(monkeypatch, step):
    """Saving that step meets a full disk when it is to be given its name."""
    from orbax.checkpoint._src.path import atomicity

    finalize = atomicity.AtomicRenameTemporaryPath.finalize

    async def fails(self, *args, **how):
        if self.get_final().name == str(step):
            raise OSError(28, "No space left on device")
        return await finalize(self, *args, **how)

    monkeypatch.setattr(atomicity.AtomicRenameTemporaryPath, "finalize", fails)
