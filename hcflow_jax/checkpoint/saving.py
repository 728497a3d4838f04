"""Saves checkpoints asynchronously, each completely or not at all. If a save fails, earlier steps are unchanged."""

import importlib.metadata
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from hcflow_jax import buckets, paths
from hcflow_jax.checkpoint import agreement, files
from hcflow_jax.checkpoint.files import CheckpointError
from hcflow_jax.checkpoint.loading import Checkpoint
from hcflow_jax.checkpoint.reading import any_config, open_manager, read_newest, reason, root_of
from hcflow_jax.config import config_to_plain
from hcflow_jax.layout import CHECKPOINTS, UNREADABLE
from hcflow_jax.paths import Place

_UNFINISHED = ".orbax-checkpoint-tmp"  # Orbax has it in the name of a step until the step is complete
_SETTLE_SECONDS = 5.0  # the longest time to wait for threads of a failed save
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_log = logging.getLogger(__name__)


class _RaisedAnyhow(logging.Filter):
    """Suppresses logs of errors of a save, of which Orbax raises the first. This module reports them in one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Orbax logs them itself. asyncio logs those of the other arrays' tasks, with the place of the task's code.
        return not (record.exc_info and ("orbax" in record.pathname or "/orbax/checkpoint/" in record.getMessage()))


for _name in ("absl", "asyncio"):
    logging.getLogger(_name).addFilter(_RaisedAnyhow())


def _without_closed_loops(before: Callable[[Any], object], unraisable: Any) -> None:
    """Suppresses what TensorStore's threads say when a save in a bucket has failed and others of its writes end."""
    if not (isinstance(unraisable.exc_value, RuntimeError) and "loop is closed" in str(unraisable.exc_value)):
        before(unraisable)


sys.unraisablehook = partial(_without_closed_loops, sys.unraisablehook)


def _seal(directory: Place) -> None:
    """Seals a complete step. If that fails, a warning says so: the step can be used."""
    if jax.process_index() == 0:
        try:
            files.seal(directory)
        except OSError as error:
            _log.warning("%s has no checksums (%s): damage would not be noticed", directory, error)


def _remove_unfinished(root: Place) -> None:
    """Removes the files of a failed save. In a bucket, Orbax removes the steps that it has not marked as complete.

    Threads of TensorStore may still write there, and make a folder again after it was removed. Such a folder would
    make Orbax's next save fail. So the removal is repeated until nothing is left.
    """
    if not isinstance(root, Path):
        return
    end = time.monotonic() + _SETTLE_SECONDS
    while left := [path for path in root.iterdir() if _UNFINISHED in path.name]:
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        if time.monotonic() > end:
            return
        time.sleep(0.05)


class _Saving(threading.Thread):
    """A thread that waits until a step is complete, and then seals it.

    Attributes:
      step: the number of the step.
      error: the error of the save; None if there is none.
    """

    def __init__(self, manager: ocp.CheckpointManager, step: int) -> None:
        super().__init__(name=f"saving step {step}")
        self.step, self.error = step, None
        self._manager = manager

    def run(self) -> None:
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            self.error: Exception | None = error
        else:
            _seal(root_of(self._manager) / str(self.step))


class Checkpoints:
    """The checkpoints of a run, for the process that writes them.

    `save` returns when the arrays are copied from the device; a thread writes them. `close` waits for the thread. If
    a save fails, earlier steps are unchanged, and later saves are tried.

    Attributes:
      root: the directory of the checkpoints.
    """

    def __init__(
        self, workdir: str | Place, keep: int, keep_every: int = 0, tell: Callable[[str], None] = _log.error
    ) -> None:
        """Opens WORKDIR/checkpoints. Makes it if it does not exist.

        Args:
          workdir: the workdir of the run; it may be in a bucket, gs://...
          keep: the number of newest checkpoints to keep.
          keep_every: checkpoints at multiples of this number of steps are also kept; 0: none.
          tell: is called with one line if a save has failed, see `poll`.
        """
        self.root = paths.absolute(paths.place(workdir)) / CHECKPOINTS
        self.root.mkdir(parents=True, exist_ok=True)
        managers = ocp.checkpoint_managers
        kept = [managers.LatestN(keep), *([managers.EveryNSteps(keep_every)] if keep_every else [])]
        policy = managers.AnyPreservationPolicy(kept)
        self._options = dict(preservation_policy=policy, cleanup_tmp_directories=True)
        self._manager = open_manager(self.root, **self._options)
        self._tell = tell
        self._saving: _Saving | None = None
        self._failure: CheckpointError | None = None

    def steps(self) -> list[int]:
        """The saved steps, oldest first, without a step that is being written."""
        unfinished = self._saving.step if self._saving else None
        return sorted(step for step in self._manager.all_steps() if step != unfinished)

    def save(self, step: int, state: Any, config: ConfigDict, position: Mapping[str, Any] | None = None) -> None:
        """Saves a step, if it does not exist. `poll` reports errors, and `wait` raises them.

        Args:
          step: the number of the step.
          state: a tree of arrays. They may be donated after the call.
          config: the whole config.
          position: further entries of the metadata.
        """
        self._finish()
        self.poll()
        if step in self.steps():
            return
        metadata = {
            "step": step,
            "next_index": step * config.train.batch_size,
            **(position or {}),
            "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        }
        items = ocp.args.Composite(
            state=ocp.args.PyTreeSave(state),
            config=ocp.args.JsonSave(config_to_plain(config)),
            metadata=ocp.args.JsonSave(metadata),
        )
        try:
            self._manager.save(step, args=items)
        except Exception as error:  # errors of the disk; Orbax and TensorStore raise many kinds
            self._fail(step, error)
        else:
            self._saving = _Saving(self._manager, step)
            self._saving.start()

    def _finish(self) -> None:
        if self._saving is not None:
            self._saving.join()
            saved, self._saving = self._saving, None
            if saved.error is not None:
                self._fail(saved.step, saved.error)

    def _fail(self, step: int, error: Exception) -> None:
        where, why = self.root / str(step), paths.own_names(reason(error))
        todo = "check its disk"
        if not isinstance(where, Path):
            why, todo = buckets.reason(error), "the next save tries again"
        self._failure = CheckpointError(f"{where} could not be saved: {todo}; earlier steps are unchanged ({why})")
        self._failure.__cause__ = error
        if jax.process_count() == 1:  # several processes must reopen together, and the others may not know the error
            self._reopen(failed=True)

    def _reopen(self, failed: bool = False) -> None:
        """Opens the directory again, so that Orbax knows its steps. After a failed save, removes its files."""
        with suppress(Exception):  # it raises the error of the failed save again
            self._manager.close()
        if failed:
            _remove_unfinished(self.root)
        self._manager = open_manager(self.root, **self._options)

    def poll(self) -> None:
        """Reports a save that has failed since the last call. It does not wait for a save."""
        if self._saving is not None and not self._saving.is_alive():
            self._finish()
        if self._failure is not None:
            self._tell(str(self._failure))
            self._failure = None

    def restore_latest(self, template: Any, accept: Callable[[ConfigDict], None] = any_config) -> Checkpoint | None:
        """Reads the newest step that can be read. If there are several processes, all must call it.

        Newer steps, which no process can read, are moved to WORKDIR/unreadable, because the run will save steps with
        their numbers again.

        Args:
          template: the tree of the state, or a function that returns it; see `read_step`.
          accept: is called with the config of the step before its arrays are read. It may raise a ConfigError.

        Returns:
          The checkpoint, whose `arrays` have the structure of `template`; None if no step was saved yet.

        Raises:
          CheckpointError: no step can be read, or the newest belongs to another model.
          UnequalError: the processes find different steps, or only some can read the newest. Nothing is moved.
          ConfigError: from `accept`.
        """
        agreement.check_steps(self.root, self.steps())
        read = partial(agreement.read_step, self._manager, template=template, accept=accept)
        found = read_newest(self._manager, read)
        if found is not None and not files.is_sealed(self.root / str(found.step)):
            _seal(self.root / str(found.step))
        bad = [step for step in self.steps() if found and step > found.step]
        multihost_utils.sync_global_devices("the newest checkpoint was found")
        for step in bad if jax.process_index() == 0 else ():
            target = self.root.parent / UNREADABLE / str(step)
            while target.exists():
                target = target.with_name(target.name + "_")
            buckets.move(self.root / str(step), target)
            _log.warning("moved %s to %s", self.root / str(step), target)
        if bad:
            multihost_utils.sync_global_devices("checkpoints that cannot be read were moved")
            self._reopen()
        return found

    def wait(self) -> None:
        """Waits until everything is on disk.

        Raises:
          CheckpointError: the last step could not be saved, and `poll` has not reported it.
        """
        self._finish()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Waits as `wait` does, and closes the directory."""
        try:
            self.wait()
        finally:
            self._manager.close()
