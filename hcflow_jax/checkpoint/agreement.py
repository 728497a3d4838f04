"""The processes of a run agree on the step that they restore.

All of them must restore the same step: otherwise they would wait for each other for ever. So they compare the steps
that they find, and whether they can read a step, before one of them passes it over.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from hcflow_jax import devices
from hcflow_jax.checkpoint import files, reading
from hcflow_jax.checkpoint.files import CheckpointError
from hcflow_jax.checkpoint.loading import Checkpoint
from hcflow_jax.checkpoint.reading import OtherModelError, UnequalError
from hcflow_jax.errors import HcflowError
from hcflow_jax.paths import Place

_Result = TypeVar("_Result")


def check_steps(root: Place, steps: Sequence[int]) -> None:
    """Checks that all processes find the same steps. All processes must call it.

    Args:
      root: the directory of the checkpoints.
      steps: the steps that this process finds there.

    Raises:
      UnequalError: other processes find other steps. All processes raise it.
    """
    found = devices.exchange([int(step) for step in steps])
    if differ := devices.unequal([", ".join(map(str, each)) or "none" for each in found]):
        raise UnequalError(
            f"{root}: the processes of the run find different steps there ({differ}): "
            "all processes need the same --workdir, in storage that they share"
        )


def read_step(
    manager: ocp.CheckpointManager, step: int, template: Any, accept: Callable[[ConfigDict], None]
) -> Checkpoint:
    """Reads one step like `reading.read_step`, in all processes or in none. All processes must call it.

    Raises:
      CheckpointError: no process can read the step.
      UnequalError: only some processes can read it.
      OtherModelError, ConfigError: as from `reading.read_step`.
    """
    if jax.process_count() == 1:
        return reading.read_step(manager, step, template, accept=accept)
    directory = reading.root_of(manager) / str(step)

    def read() -> Checkpoint:
        return reading.read_step(manager, step, template, accept=accept, verify=False)

    _in_all(directory, lambda: files.check(directory))
    if not any(devices.exchange(files.is_sealed(directory))):
        return _in_all(directory, read)  # nothing has shown yet whether its contents are whole
    try:
        return read()
    except CheckpointError as error:
        if isinstance(error, OtherModelError):
            raise
        # All processes have found it whole. The others may wait for this one inside the same call.
        raise UnequalError(_only(directory, [jax.process_index()], error)) from error


def _in_all(directory: Place, act: Callable[[], _Result]) -> _Result:
    """The result of `act`, if no process meets an error. If all do, raises this process's own error.

    Raises:
      UnequalError: only some processes meet an error. All processes raise it.
    """
    made: list[_Result] = []
    error = None
    try:
        made.append(act())
    except (HcflowError, OSError) as caught:
        error = caught
    said = devices.exchange(None if error is None else str(error))
    failed = [process for process, text in enumerate(said) if text is not None]
    if 0 < len(failed) < len(said):
        raise UnequalError(_only(directory, failed, said[failed[0]])) from error
    if error is not None:
        raise error
    return made[0]


def _only(directory: Place, processes: Sequence[int], why: object) -> str:
    return (
        f"{directory}: only {devices.named_processes(processes)} of the run cannot read it ({why}): check the "
        "storage of that machine, and start all processes again; nothing was moved"
    )
