"""Files that are written completely or not at all, and lock files that one process at a time may hold."""

import hashlib
import logging
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from hcflow_jax.errors import HcflowError
from hcflow_jax.stopping import unfinished

PARTIAL = ".partial"  # the ending of what is still being written
_LONGEST = 255  # bytes of a name
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

_log = logging.getLogger(__name__)


class HeldError(HcflowError):
    """Another process holds a lock.

    Attributes:
      holder: the id of that process, "?" if unknown.
    """

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is held by process {holder}")
        self.holder = holder


def hidden(path: Path, ending: str) -> Path:
    """A hidden name beside a file or directory, for what belongs to it: .NAME.ENDING.

    Where that would be longer than file systems allow, NAME is its first characters and a digest of it.
    """
    name = f".{path.name}.{ending}"
    if len(os.fsencode(name)) > _LONGEST:
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
        name = f".{path.name[:32]}-{digest}.{ending}"
    return path.with_name(name)


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Replaces a file at once: a reader finds the old file or the new one, never half of it.

        with replacing(path) as partial:
            partial.write_text(text)

    Args:
      path: where the file is to be. Its folder must exist.
      durable: whether the file must be on the disk when the block ends, so that it survives a crash of the machine.

    Yields:
      A path beside it, hidden, to write a file to or to make a directory at. It takes its place when the block ends,
      or is removed if the block raises. A directory can only take the place of nothing or of an empty directory.

    Raises:
      OSError: the file cannot be put into its place.
    """
    partial = hidden(path, f"{uuid.uuid4().hex[:12]}{PARTIAL}")
    unfinished.add(partial)
    try:
        yield partial
        if durable:
            sync(partial)
        os.replace(partial, path)
        if durable:
            sync(path.parent)
    except BaseException:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            with suppress(OSError):
                partial.unlink()
        raise
    finally:
        unfinished.discard(partial)


def write(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Writes a file with `replacing`; makes the folders above it.

    Args:
      path: the path of the file.
      save: writes to the open file that it is given.

    Raises:
      OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, open(partial, "wb") as file:
        save(file)


def sync(path: Path) -> None:
    """Waits until a file or a directory is on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Holds a lock on a file, and writes the id of this process into it.

    The lock ends with the block, or with the process, however that ends. Processes that this one starts do not
    inherit it. The file stays when the lock ends. Its holder may remove it; a process that waits
    for it then makes a new one.

    Args:
      path: the path of the file. Its folder must exist.
      wait: whether to wait for a process that holds it.

    Yields:
      Whether the lock is held: on a file system without locks it is not, and a warning says so.

    Raises:
      HeldError: another process holds it, and `wait` is False.
      OSError: the file cannot be made.
    """
    path.touch()
    lock = FileLock(path, timeout=-1 if wait else 0, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise HeldError(path, _holder(path)) from None
    except OSError as error:
        _log.warning("%s: locks do not work there (%s); make sure that nothing else writes", path, error.strerror)
    try:
        path.write_text(f"{os.getpid()}\n")
        yield lock.is_locked
    finally:
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text().strip() or "?"
    except OSError:
        return "?"


def refuse_special(status: os.stat_result) -> None:
    """Refuses what may block whoever opens it, or do something else then.

    Args:
      status: the status of the file.

    Raises:
      OSError: it is a pipe, a socket or a device.
    """
    kind = _SPECIAL.get(stat.S_IFMT(status.st_mode))
    if kind:
        raise OSError(f"{kind}, not a file")
