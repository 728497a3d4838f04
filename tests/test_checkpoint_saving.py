"""Saving: what is kept, and that a save which fails or is not finished is as if it had not been tried."""

import asyncio
import gc
import resource
import shutil
import threading
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from orbax.checkpoint._src.path import atomicity
from orbax.checkpoint._src.serialization import serialization
from test_checkpoint import config, state

from hcflow_jax import checkpoint
from hcflow_jax.checkpoint import CheckpointError, Checkpoints, saving


def test_steps_at_an_interval_are_kept_besides(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2, keep_every=3)
    for step in range(1, 9):
        checkpoints.save(step, state(step), config())
    checkpoints.close()
    assert sorted(int(p.name) for p in (tmp_path / "checkpoints").iterdir()) == [3, 6, 7, 8]


@contextmanager
def full_disk():
    """No file may grow beyond 2 KB, as if the disk were full by then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# TensorStore goes on telling the event loop of the failed save, which Orbax has closed by then.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_save_that_fails_is_said_once_and_harms_no_other(tmp_path):
    told = []
    checkpoints = Checkpoints(tmp_path, 2, tell=told.append)
    for step in (1, 2):
        checkpoints.save(step, state(step), config())
    checkpoints.wait()
    with full_disk():
        checkpoints.save(3, state(3), config())
        with pytest.raises(CheckpointError, match=r"checkpoints/3 could not be saved: check its disk") as error:
            checkpoints.wait()
    assert "\n" not in str(error.value)
    assert checkpoints.steps() == [1, 2] and checkpoint.load(tmp_path).step == 2
    assert not (tmp_path / "checkpoints" / "3").exists()
    with full_disk():
        checkpoints.save(3, state(3), config())
        assert told == [] and 3 not in checkpoints.steps()
        checkpoints.save(3, state(3), config())
        # By the next save at the latest. The reason in brackets is Orbax's: whichever of its threads failed first.
        assert [line.split(" (")[0] for line in told] == [str(error.value).split(" (")[0]]
        with suppress(CheckpointError):
            checkpoints.wait()
    for step in (3, 4):
        checkpoints.save(step, state(step), config())
    checkpoints.close()
    assert checkpoint.load(tmp_path).step == 4
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]


def test_what_a_failed_save_goes_on_writing_is_removed(tmp_path, monkeypatch):
    left, remove, calls = tmp_path / "3.orbax-checkpoint-tmp", shutil.rmtree, []

    def removed_and_made_again(path, **how):
        remove(path, **how)
        calls.append(path)
        if len(calls) < 3:
            left.mkdir()

    for path in (tmp_path / "2", left):
        path.mkdir()
    monkeypatch.setattr(saving.shutil, "rmtree", removed_and_made_again)
    saving._remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["2"] and calls == [left] * 3


def test_a_step_that_is_being_written_is_not_there_yet(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save(1, state(1), config())
    checkpoints.wait()
    free, finalize = threading.Event(), atomicity.AtomicRenameTemporaryPath.finalize

    async def held(self, *args, **how):
        await asyncio.to_thread(free.wait)
        return await finalize(self, *args, **how)

    monkeypatch.setattr(atomicity.AtomicRenameTemporaryPath, "finalize", held)
    checkpoints.save(2, state(2), config())
    assert checkpoints.steps() == [1] and checkpoint.load(tmp_path).step == 1
    free.set()
    checkpoints.close()
    assert checkpoint.load(tmp_path).step == 2


def test_asyncio_does_not_say_again_what_orbax_raises(caplog):
    """A failed save leaves tasks whose exceptions nobody asks for. Orbax raises the first exception."""

    async def ours():
        raise ValueError("of ours")

    async def forget():
        nothing: Any = None
        for coroutine in (serialization.async_serialize_from_host(nothing, nothing), ours()):
            task = asyncio.create_task(coroutine)
            await asyncio.sleep(0)
            del task

    asyncio.run(forget())
    gc.collect()
    (told,) = [record for record in caplog.records if record.name == "asyncio"]
    assert "never retrieved" in told.getMessage() and "of ours" in told.getMessage()
