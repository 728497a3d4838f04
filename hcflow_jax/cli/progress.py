"""Bars on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


def bar(total: int, what: str) -> "tqdm[Any]":
    """A bar on stderr; none where that is no terminal."""
    return tqdm(total=total, desc=what, unit=" images", leave=False, disable=None)


@contextmanager
def shown(total: int, what: str) -> Iterator[Callable[[int, int], object]]:
    """A bar while a method of `api.Model` runs, and the callback that moves it: its `progress`."""
    with bar(total, what) as progress:
        yield lambda done, _: progress.update(done - progress.n)


class Stages:
    """Bars for work of several stages: each stage's appears when it begins, and is replaced by the next one's."""

    def __init__(self) -> None:
        """No stage has begun."""
        self._name, self._bar = "", None

    def __enter__(self) -> "Stages":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, what: str, done: int, of: int) -> None:
        """Shows how far a stage is.

        Args:
          what: the stage.
          done: its images that are done, of `of`.
        """
        if what != self._name or self._bar is None:
            if self._bar is not None:
                self._bar.close()
            self._name, self._bar = what, bar(of, what)
        self._bar.update(done - self._bar.n)
