"""SIGTERM: a cluster's notice that the machine is wanted back.

Of several processes one may hear it before the others, or alone. They have to end after the same step, so they vote.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

TERMINATED = 143  # 128 + SIGTERM: what a shell reports of a process that it ended

T = TypeVar("T")


class Interrupted(Exception):
    """What was going on was given up because the process is to end."""


class Termination:
    """Whether SIGTERM came. Noticed rather than obeyed, so that a step is finished and saved first."""

    def __init__(self, votes: Callable[[bool], bool] | None = None) -> None:
        """Nothing came yet.

        Args:
          votes: for several processes: whether any of them was asked to end, see `distributed.Votes`.
        """
        self._votes = votes
        self._came, self._agreed = False, False

    @property
    def requested(self) -> bool:
        """Whether the run is to end: of several processes, what the last vote said."""
        return self._came if self._votes is None else self._agreed

    def vote(self) -> None:
        """Asks the other processes, which have to call it as often."""
        if self._votes is not None:
            self._agreed = self._votes(self._came) or self._agreed

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._came = True

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """SIGTERM sets `requested` inside, and does what it did before outside."""
        before = signal.signal(signal.SIGTERM, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def check(self) -> None:
        """To be called now and again by what waits.

        Raises:
          Interrupted: it came.
        """
        if self.requested:
            raise Interrupted

    def interrupts(self, items: Iterable[T]) -> Iterator[T]:
        """The items, until SIGTERM comes; with a vote on each.

        Raises:
          Interrupted: it came.
        """
        for item in items:
            self.vote()
            self.check()
            yield item
