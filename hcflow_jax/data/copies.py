"""Copies the shards of a set in a bucket to this machine's disk while the set is read from the bucket.

    FOLDER/images-00000-of-00048.array_record           a whole shard, which agreed with the manifest's checksum
    FOLDER/.images-00001-of-00048.array_record.partial  the beginning of a shard; the next process continues it

Several processes can use one folder. One of them copies at a time. A shard appears there by one rename, so every
process can use it as soon as it is there.
"""

import logging
import shutil
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hcflow_jax import buckets
from hcflow_jax.data import shards
from hcflow_jax.data.fetching import Fetcher
from hcflow_jax.data.source import DataError
from hcflow_jax.files import HeldError, hidden, locked

_PIECE, _PIECES = 4 << 20, 8  # bytes of a request; requests at the same time
_FREE = 0.05  # the fraction of the disk that stays free
_LOOK = 10.0  # seconds between two looks for what another process has copied
_GRACE = 5.0  # seconds that the end waits for the request that is under way

_log = logging.getLogger(__name__)


class Copies:
    """The copies on this machine. `complete` grows while a thread copies.

    Attributes:
      folder: where the copies are.
      complete: the numbers of the shards that are there.
      error: what is wrong with a shard in the bucket; None if nothing is known to be.
    """

    def __init__(self, fetcher: Fetcher, entries: Sequence[Mapping[str, Any]], folder: Path, most: int) -> None:
        """Finds the copies that are there already. It copies nothing before `start`.

        Args:
          fetcher: reads from the folder in the bucket.
          entries: the shards' entries in the manifest, in order.
          folder: where the copies of this set are; other sets have other folders beside it.
          most: bytes that the copies of all sets may take together.
        """
        self.folder, self.complete, self.error = folder, set[int](), None
        self._fetcher, self._entries, self._most = fetcher, entries, most
        self._stopped, self._starting = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._look()

    def start(self, owner: object) -> None:
        """Starts to copy, once. The thread ends when everything is copied, or when `owner` is no longer used."""
        with self._starting:
            if self._thread is None and len(self.complete) < len(self._entries):
                self._thread = threading.Thread(target=self._work, name="copies of images", daemon=True)
                weakref.finalize(owner, self.stop)
                self._thread.start()

    def stop(self) -> None:
        """Stops copying. What is copied stays."""
        self._stopped.set()
        # The garbage collector may call this in the thread that the requests need.
        if self._thread and threading.current_thread() is threading.main_thread():
            self._thread.join(_GRACE)

    def drop(self, index: int, reason: object) -> None:
        """Removes a copy that cannot be read, so that this shard is read from the bucket."""
        if index in self.complete:
            self.complete.discard(index)
            (self.folder / self._entries[index]["file"]).unlink(missing_ok=True)
            _log.warning("%s; it was a copy: its images now come from the bucket", reason)

    def _look(self) -> None:
        for index, entry in enumerate(self._entries):
            if index not in self.complete:
                with suppress(OSError):  # it is not there, or cannot be read
                    if (self.folder / entry["file"]).stat().st_size == entry["bytes"]:
                        self.complete.add(index)

    def _work(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while not self._one_turn():
                self._stopped.wait(_LOOK)
        except DataError as error:
            self.error = error  # whoever reads next raises it
        except OSError as error:
            _log.warning(
                "%s: cannot be written (%s); the images that are not there are read from the bucket in each epoch",
                self.folder,
                error.strerror or error,
            )

    def _one_turn(self) -> bool:
        """Copies what is missing, unless another process does. Returns whether this thread has nothing left to do."""
        self._look()
        try:
            with locked(self.folder / ".copying") as held:
                if held:  # without locks, two processes could write into one file
                    self._copy_all()
            return True
        except HeldError:
            return self._stopped.is_set() or len(self.complete) == len(self._entries)
        except DataError as error:
            if error.__cause__ is None or not buckets.is_outage(error.__cause__):
                raise
            return self._stopped.is_set()  # later the store may answer

    def _copy_all(self) -> None:
        _log.info("%s: copying its files to %s", self._fetcher.folder, self.folder)
        for index, entry in enumerate(self._entries):
            if self._stopped.is_set():
                return
            if index not in self.complete:
                if not self._has_room(entry["bytes"]):
                    return
                self._copy(index)
        _log.info("%s: all files are copied to %s", self._fetcher.folder, self.folder)

    def _has_room(self, more: int) -> bool:
        taken = sum(file.stat().st_size for file in self.folder.parent.glob("*/*.array_record"))
        disk = shutil.disk_usage(self.folder)
        limit = ""
        if taken + more > self._most:
            limit = f"data.cache_gigabytes is {self._most / 1e9:g}, and {self.folder.parent} has {taken / 1e9:.1f} GB"
        elif disk.free - more < _FREE * disk.total:
            limit = f"the disk of {self.folder} has only {disk.free / 1e9:.1f} GB free"
        if limit:
            _log.warning(
                "%s: %d of its %d files are copied to this machine (%s); the others are read from the bucket in each "
                "epoch",
                self._fetcher.folder,
                len(self.complete),
                len(self._entries),
                limit,
            )
        return not limit

    def _copy(self, index: int) -> None:
        """Copies one shard, from where an earlier attempt stopped.

        Raises:
          DataError: the shard does not agree with the manifest, or cannot be read.
          OSError: the copy cannot be written.
        """
        entry = self._entries[index]
        path = self.folder / entry["file"]
        partial = hidden(path, "partial")
        for last in (False, True):
            if not self._fetch(entry, partial):
                return
            if not shards.damage(self.folder, {**entry, "file": partial.name}):
                partial.replace(path)
                self.complete.add(index)
                return
            partial.unlink()  # the beginning may be from another version of the object, so it is read again, once
            if last:
                raise DataError(
                    f"{self._fetcher.folder}/{entry['file']}: does not match its manifest, so it is damaged or was "
                    "replaced; prepare the set again"
                )

    def _fetch(self, entry: Mapping[str, Any], partial: Path) -> bool:
        """Adds what is missing to the beginning of a shard. Returns whether it is whole: False if it was stopped."""
        try:
            with open(partial, "ab") as file:
                while (at := file.tell()) < entry["bytes"]:
                    if self._stopped.is_set():
                        return False
                    starts = range(at, min(entry["bytes"], at + _PIECES * _PIECE), _PIECE)
                    parts = [(entry["file"], start, min(start + _PIECE, entry["bytes"])) for start in starts]
                    content = self._fetcher.parts(parts)
                    for (_, start, stop), piece in zip(parts, content, strict=True):
                        if len(piece) != stop - start:
                            return True  # the object is too short, which its checksum shows
                        file.write(piece)
                    file.flush()
        except OSError:
            partial.unlink(missing_ok=True)  # the disk may be full
            raise
        return True
