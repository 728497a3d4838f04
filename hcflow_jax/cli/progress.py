"""Progress bars on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


def bar(total: int, what: str) -> "tqdm[Any]":
    """A progress bar on stderr; nothing is shown if stderr is not a terminal."""
    return tqdm(total=total, desc=what, unit=" images", leave=False, disable=None)


@contextmanager
def shown(total: int, what: str) -> Iterator[Callable[[int, int], object]]:
    """Shows a bar while a method of `api.Model` runs; yields the callback for its argument `progress`."""
    with bar(total, what) as progress:
        yield lambda done, _: progress.update(done - progress.n)


class Stages:
    """Bars for work with several stages: one bar at a time, for the current stage."""

    def __init__(self) -> None:
        """Starts without a stage."""
        self._name, self._bar = "", None

    def __enter__(self) -> "Stages":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes the bar, for example before text is printed. The next stage shows a new one."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def tell(self, what: str, done: int, of: int) -> None:
        """Shows the progress of a stage.

        Args:
          what: the name of the stage.
          done: how many of its `of` images are done.
        """
        if what != self._name or self._bar is None:
            self.close()
            self._name, self._bar = what, bar(of, what)
        self._bar.update(done - self._bar.n)
