"""One writer at a time: a second one is told who the first is."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hcflow_jax.data.source import DataError


@contextmanager
def only_writer(directory: Path) -> Iterator[None]:
    """Holds `.NAME.lock` beside a directory, with this process's number in it.

    It ends with the process, however that ends, and the processes it starts do not inherit it.

    Raises:
      DataError: naming the process that holds it.
      OSError: if the file cannot be made.
    """
    path = directory.parent / f".{directory.name}.lock"
    while True:
        with open(path, "a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "?"
                raise DataError(f"{directory}: process {holder} is preparing it; wait for it or stop it") from None
            except OSError as error:
                logging.getLogger(__name__).warning(
                    "%s: no locks there (%s): see that nothing else writes", path, error.strerror
                )
            if not _is(file.fileno(), path):
                continue  # its holder removed it between our opening and our locking
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
