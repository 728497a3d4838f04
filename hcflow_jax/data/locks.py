"""One writer of a directory at a time: the others wait, or are told who it is."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hcflow_jax.data.source import DataError


@contextmanager
def in_turn(directory: Path) -> Iterator[None]:
    """One process at a time prepares a directory; the others wait. Without a lock `shards.publish` is safe too."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.parent / f".{directory.name}.lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            for left_by_the_killed in directory.parent.glob(f".{directory.name}.*.partial"):
                shutil.rmtree(left_by_the_killed, ignore_errors=True)
        except OSError:
            pass  # a file system without locks: at worst the work is done twice
        yield


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
