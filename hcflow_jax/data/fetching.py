"""Reads parts of objects in a bucket, many at the same time, and waits while the store does not answer."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from etils import epath

from hcflow_jax import buckets
from hcflow_jax.data.source import DataError
from hcflow_jax.paths import scheme_of

REQUESTS = 32  # at the same time, for one call
_SLOW = 10.0  # seconds without an answer after which a line says so
_PAUSE = 2.0  # seconds between two attempts; the libraries of the stores make several more in each

_log = logging.getLogger(__name__)

Part = tuple[str, int | None, int | None]  # the name of an object in the folder, and the bytes [start, stop)
R = TypeVar("R")


class Fetcher:
    """Reads from one folder in a bucket. It is thread-safe."""

    def __init__(self, folder: epath.Path, patience: float) -> None:
        """Does not connect yet.

        Args:
          folder: the folder in the bucket.
          patience: seconds that a call waits for a store that does not answer.
        """
        self.folder, self._patience = folder, patience
        self._files = buckets.files_of(folder)
        self._said = threading.Event()

    def parts(self, parts: Sequence[Part]) -> list[bytes]:
        """Reads parts of objects.

        Returns:
          Their bytes, in the order of the parts. There are fewer bytes if the object is shorter.

        Raises:
          DataError: an object does not exist, the store refuses, or it does not answer for a long time. The message
            names the object.
        """
        found: list[bytes] = [b""] * len(parts)
        left = list(range(len(parts)))

        def attempt() -> None:
            names, starts, stops = zip(*(parts[place] for place in left), strict=True)
            given = self._files.cat_ranges(
                [f"{self.folder}/{name}" for name in names],
                list(starts),
                list(stops),
                batch_size=REQUESTS,
                on_error="return",
            )
            outage = None
            for place, content in zip(list(left), given, strict=True):
                if not isinstance(content, BaseException):
                    found[place] = content
                    left.remove(place)
                elif buckets.is_outage(content):
                    outage = content
                else:
                    raise _named(f"{self.folder}/{parts[place][0]}", content)
            if outage:
                raise outage

        if parts:
            self.until_it_answers(attempt)
        return found

    def listing(self) -> dict[str, buckets.Entry]:
        """All objects in the folder.

        Raises:
          DataError: the store refuses, or does not answer for a long time.
        """
        return self.until_it_answers(lambda: buckets.listing(self.folder))

    def until_it_answers(self, attempt: Callable[[], R]) -> R:
        """Calls a function again as long as its errors say that the store does not answer.

        Raises:
          DataError: another error, or `patience` is over.
        """
        end = time.monotonic() + self._patience
        while True:
            try:
                with self._watched():
                    result = attempt()
            except DataError:
                raise
            except Exception as error:
                if not buckets.is_outage(error) or time.monotonic() + _PAUSE > end:
                    raise _named(str(self.folder), error) from error
                self._say()
                time.sleep(_PAUSE)
            else:
                if self._said.is_set():
                    self._said.clear()
                    _log.warning("%s: the store answers again", self.folder)
                return result

    @contextmanager
    def _watched(self) -> Iterator[None]:
        # One attempt can take a minute: the store's library repeats the request several times.
        timer = threading.Timer(_SLOW, self._say)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _say(self) -> None:
        if not self._said.is_set():
            self._said.set()
            _log.warning(
                "%s: the store does not answer; trying again for %.0f s at most", self.folder, self._patience
            )


def _named(path: str, error: BaseException) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: missing; prepare the set again, or correct the path")
    if isinstance(error, buckets.StoreError):  # it names the path already
        return DataError(str(error))
    return DataError(f"{path}: {buckets.reason(error, scheme_of(path))}")
