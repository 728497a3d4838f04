"""A signal that ends a run: noted, so that the step at hand is finished and saved.

SIGTERM is a cluster's notice that the machine is wanted back, SIGINT is Ctrl-C, SIGHUP a terminal that is gone. Of
several processes one may hear it before the others, or alone. They have to end after the same step, so they vote.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from hcflow_jax import stopping

T = TypeVar("T")


class Interrupted(Exception):
    """What was going on was given up because the process is to end."""


class Termination:
    """Whether a signal came. Noticed rather than obeyed, so that a step is finished and saved first.

    Attributes:
      votes: for several processes: gives the number of a signal that any of them heard, or 0; see
        `distributed.Votes`.
    """

    def __init__(self, votes: Callable[[int], int] | None = None) -> None:
        """Nothing came yet."""
        self.votes = votes
        self._came, self._agreed = 0, 0

    @property
    def number(self) -> int:
        """The signal that is to end the run: of several processes, what the last vote said. 0: none."""
        return self._came if self.votes is None else self._agreed

    @property
    def requested(self) -> bool:
        """Whether the run is to end."""
        return self.number > 0

    def vote(self) -> None:
        """Asks the other processes, which have to call it as often."""
        if self.votes is not None:
            agreed = int(self.votes(self._came))
            self._agreed = self._agreed or agreed

    def _note(self, number: int) -> None:
        self._came = self._came or number

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """The first signal sets `requested` inside, see `stopping.noted`."""
        with stopping.noted(self._note):
            yield

    def check(self) -> None:
        """To be called now and again by what waits.

        Raises:
          Interrupted: it came.
        """
        if self.requested:
            raise Interrupted

    def interrupts(self, items: Iterable[T]) -> Iterator[T]:
        """The items, until a signal comes; with a vote on each.

        Raises:
          Interrupted: it came.
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
        """Ends the process once all is saved and said: with status 128 + the signal's number.

        Raises:
          Stopped: always.
        """
        raise stopping.stopped(self.number, told=True)
