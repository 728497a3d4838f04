"""SIGTERM: a cluster's notice that the machine is wanted back."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

TERMINATED = 143  # 128 + SIGTERM: what a shell reports of a process that it ended

T = TypeVar("T")


class Interrupted(Exception):
    """What was going on was given up because the process is to end."""


class Termination:
    """Whether SIGTERM came. Noticed rather than obeyed, so that a step is finished and saved first."""

    def __init__(self) -> None:
        """Nothing came yet."""
        self.requested = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True

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
        """The items, until SIGTERM comes.

        Raises:
          Interrupted: it came.
        """
        for item in items:
            self.check()
            yield item
