"""Signals that end a run. A signal is noted, so that the current step is finished and saved.

A cluster sends SIGTERM when it needs the machine; Ctrl-C sends SIGINT; SIGHUP means that the terminal is gone. If
there are several processes, perhaps only some get the signal. All must end after the same step, so they vote.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from hcflow_jax import stopping

T = TypeVar("T")


class Interrupted(Exception):
    """Work is interrupted because the process must end."""


class Termination:
    """Says whether a signal has come, and ends the run.

    Attributes:
      votes: for several processes: a `distributed.Votes`, which returns the number of a signal that one of them got,
        or 0.
    """

    def __init__(self, votes: Callable[[int], int] | None = None) -> None:
        """At first there is no signal."""
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
        """Votes with the other processes. All processes must call it equally often."""
        if self.votes is not None:
            agreed = int(self.votes(self._came))
            self._agreed = self._agreed or agreed

    def _note(self, number: int) -> None:
        self._came = self._came or number

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Inside the block, the first signal sets `requested`; see `stopping.noted`."""
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
        """The name of the signal, such as "SIGTERM"."""
        return signal.Signals(self.number).name

    def end(self) -> NoReturn:
        """Ends the process with status 128 + the number of the signal. Save and print everything before.

        Raises:
          Stopped: always.
        """
        raise stopping.stopped(self.number, told=True)
