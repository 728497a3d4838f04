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
