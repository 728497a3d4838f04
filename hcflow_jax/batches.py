"""Runs a program on any number of examples. It is compiled for a few batch sizes, and the device is never idle."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from hcflow_jax import devices
from hcflow_jax.errors import InputError

_STEP = 4  # the ratio of two successive batch sizes: padding makes a batch less than four times as large

Tree = Any  # a pytree of arrays (n, ...), all with the same n
Progress = Callable[[int, int], object]  # (number of examples that are done, number of all)


def bucket(count: int, largest: int, multiple: int = 1) -> int:
    """The batch size that `count` examples are padded to: 1, 4, 16, ..., or `largest`.

    Args:
      count: the number of examples, at least 1 and at most `largest`.
      largest: the largest batch size, a multiple of `multiple`.
      multiple: batch sizes are rounded up to multiples of this number.
    """
    size = 1
    while size < count:
        size *= _STEP
    return -(-min(size, largest) // multiple) * multiple


def length(tree: Tree) -> int:
    """n, the number of examples of a tree."""
    return len(jax.tree.leaves(tree)[0])


def cut(trees: Iterable[Tree], largest: int) -> Iterator[Tree]:
    """Cuts trees into pieces of at most `largest` examples."""
    for tree in trees:
        count = length(tree)
        for start in range(0, count, largest):
            part = slice(start, start + largest)
            yield tree if count <= largest else jax.tree.map(lambda a: a[part], tree)  # noqa: B023


def regroup(trees: Iterable[Tree], count: int) -> Iterator[Tree]:
    """Joins trees and cuts the result into trees of `count` examples, in the same order. The last may have fewer."""
    kept: list[Tree] = []
    have = 0
    for tree in trees:
        kept.append(tree)
        have += length(tree)
        while have >= count:
            whole = kept[0] if len(kept) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *kept)
            yield jax.tree.map(lambda a: a[:count], whole)
            kept, have = [jax.tree.map(lambda a: a[count:], whole)], have - count
    if have:
        yield kept[0] if len(kept) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *kept)


def stream(
    call: Callable[[Tree], Tree],
    trees: Iterable[Tree],
    largest: int,
    multiple: int = 1,
    place: Callable[[Tree], Tree] = lambda tree: tree,
) -> Iterator[Tree]:
    """Calls a program on one piece of the trees after another, and yields its results.

    A piece is dispatched before the result of the previous piece is fetched, so the device computes while the host
    copies. If a piece does not have one of the batch sizes, it is padded with its own examples, from the first; the
    results of these are dropped.

    Args:
      call: the program, from and to trees of arrays (batch, ...).
      trees: trees of numpy arrays (n, ...), with any n. They are read one at a time.
      largest: the largest number of examples per call, a multiple of `multiple`.
      multiple: batch sizes are multiples of this number.
      place: puts a batch onto the devices.

    Yields:
      A tree of numpy arrays for each of the pieces that `cut` makes.
    """
    pending = None
    for piece in cut(trees, largest):
        size = length(piece)
        rows = np.arange(bucket(size, largest, multiple)) % size
        whole = piece if len(rows) == size else jax.tree.map(lambda a: a[rows], piece)  # noqa: B023
        output = call(place(whole))
        if pending is not None:
            yield _fetch(*pending)
        pending = output, size
    if pending is not None:
        yield _fetch(*pending)


def _fetch(output: Tree, size: int) -> Tree:
    return jax.tree.map(lambda a: a[:size], devices.fetch(output))


def joined(parts: Iterable[Tree], total: int, progress: Progress | None = None) -> Tree:
    """Joins parts into one tree of numpy arrays.

    Args:
      parts: trees of arrays (n, ...), at least one.
      total: the number of examples of all parts.
      progress: is called after every part.

    Raises:
      InputError: `progress` is not a function.
    """
    if not (progress is None or callable(progress)):
        raise InputError(f"progress is {progress!r}: expected a function of two counts")
    kept, done = [], 0
    for part in parts:
        kept.append(part)
        done += length(part)
        if progress is not None:
            progress(done, total)
    return kept[0] if len(kept) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *kept)
