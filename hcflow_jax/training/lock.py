"""One run at a time in a workdir: two would write over each other's history and checkpoints."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from hcflow_jax.config import ConfigError

LOCK = ".lock"


@contextmanager
def only_run(workdir: Path) -> Iterator[None]:
    """Holds WORKDIR/.lock, with this process's number in it; of a run's processes the first holds it for all.

    It ends with the process, however that ends, and the processes it starts do not inherit it. The file stays: a
    lock on a file that is gone would keep nobody out. On a file system without locks a warning is all there is.

    Raises:
      ConfigError: naming the process that holds it.
    """
    if jax.process_index() != 0:
        yield
        return
    with open(workdir / LOCK, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "?"
            raise ConfigError(
                f"--workdir={workdir}: process {holder} is training in it; stop that one, or name another"
            ) from None
        except OSError as error:
            logging.getLogger(__name__).warning(
                "%s: no locks there (%s): see that no other run writes in it", workdir, error.strerror
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
