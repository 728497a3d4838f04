"""One run at a time in a workdir: two would write over each other's history and checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from hcflow_jax.config import ConfigError
from hcflow_jax.files import HeldError, locked

LOCK = ".lock"


@contextmanager
def only_run(workdir: Path) -> Iterator[None]:
    """Holds WORKDIR/.lock (see `files.locked`); of a run's processes the first holds it for all.

    Raises:
      ConfigError: naming the process that holds it.
    """
    if jax.process_index() != 0:
        yield
        return
    try:
        with locked(workdir / LOCK):
            yield
    except HeldError as error:
        raise ConfigError(
            f"--workdir={workdir}: process {error.holder} is training in it; stop that one, or name another"
        ) from None
