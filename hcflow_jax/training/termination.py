"""A signal that ends a run. It is noted, so that the current step is finished and saved.

A cluster sends SIGTERM when it needs the machine, SIGINT is Ctrl-C, and SIGHUP means that the terminal is gone. With
several processes, only some may get the signal. All must end after the same step, so they vote.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from hcflow_jax import stopping

T = TypeVar("T")


class Interrupted(Exception):
    """Work was interrupted because the process must end."""


class Termination:
    """Whether a signal came. It is only noted, so that a step is finished and saved first.

    Attributes:
      votes: for several processes: returns the number of a signal that any of them got, or 0; see
        `distributed.Votes`.
    """

    def __init__(self, votes: Callable[[int], int] | None = None) -> None:
        """Starts without a signal."""
        self.votes = votes
        self._came, self._agreed = 0, 0

    @property
    def number(self) -> int:
        """The signal that ends the run, or 0. With several processes it is the result of the last vote."""
        return self._came if self.votes is None else self._agreed

    @property
    def requested(self) -> bool:
        """Whether the run must end."""
        return self.number > 0

    def vote(self) -> None:
        """Votes with the other processes, which must call it equally often."""
        if self.votes is not None:
            agreed = int(self.votes(self._came))
            self._agreed = self._agreed or agreed

    def _note(self, number: int) -> None:
        self._came = self._came or number

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Inside, the first signal sets `requested`, see `stopping.noted`."""
        with stopping.noted(self._note):
            yield

    def check(self) -> None:
        """Checks for a signal. Code that waits calls this from time to time.

        Raises:
          Interrupted: a signal came.
        """
        if self.requested:
            raise Interrupted

    def interrupts(self, items: Iterable[T]) -> Iterator[T]:
        """Yields the items until a signal comes; votes for each item.

        Raises:
          Interrupted: a signal came.
        """
        for item in items:
            self.vote()
            self.check()
            yield item

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.number).name

    def end(self) -> NoReturn:
        """Ends the process, after everything is saved and printed, with status 128 + the number of the signal.

        Raises:
          Stopped: always.
        """
        raise stopping.stopped(self.number, told=True)
