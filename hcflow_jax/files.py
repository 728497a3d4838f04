"""Files that are written completely or not at all, and locks that only one process at a time can hold."""

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

PARTIAL = ".partial"  # the end of the name of an unfinished file
_LONGEST = 255  # bytes: the length of the longest file name
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
    """The path of a hidden file in the same folder, which belongs to a file or directory: .NAME.ENDING.

    If this is too long for a file name, NAME is replaced by its first characters and a digest.
    """
    name = f".{path.name}.{ending}"
    if len(os.fsencode(name)) > _LONGEST:
        digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
        name = f".{path.name[:32]}-{digest}.{ending}"
    return path.with_name(name)


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Replaces a file atomically: readers find the complete old file or the complete new one.

        with replacing(path) as partial:
            partial.write_text(text)

    Args:
      path: the path of the file. Its folder must exist.
      durable: whether the file must be on the disk when the block ends, so that it survives a crash of the machine.

    Yields:
      A hidden path in the same folder. Write a file or make a directory there. When the block ends, it is moved to
      `path`; if the block raises, it is removed. If `path` exists, a directory can only replace an empty directory.

    Raises:
      OSError: the file cannot be moved to `path`.
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
    """Writes a file with `replacing`. Makes missing folders above it.

    Args:
      path: the path of the file.
      save: a function that writes the content to an open file.

    Raises:
      OSError: the file cannot be written.
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
    """Locks a file, and writes the id of this process into it.

    The lock ends with the block, or with the process, even if that is killed. Child processes do not inherit it. The
    file remains when the lock ends. The holder of the lock may remove the file; a process that waits for the lock
    then makes a new one.

    Args:
      path: the path of the file. Its folder must exist.
      wait: whether to wait for another process that holds the lock.

    Yields:
      Whether the file is locked. On a file system without locks it is not, and a warning says so.

    Raises:
      HeldError: another process holds the lock, and `wait` is False.
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
    """Refuses special files: opening one may block or have other effects.

    Args:
      status: the status of the file.

    Raises:
      OSError: the file is a pipe, a socket or a device.
    """
    kind = _SPECIAL.get(stat.S_IFMT(status.st_mode))
    if kind:
        raise OSError(f"{kind}, not a file")
