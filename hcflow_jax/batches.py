"""Runs a program, compiled for a few batch sizes, on any number of examples, without idle time of the device."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from hcflow_jax import devices
from hcflow_jax.errors import InputError

_STEP = 4  # the factor from one batch size to the next: a batch is padded to less than four times its size

Tree = Any  # of arrays (n, ...), n the same for all
Progress = Callable[[int, int], object]  # is given how many examples are done, and of how many


def bucket(count: int, largest: int, multiple: int = 1) -> int:
    """The batch size that `count` examples are padded to: 1, 4, 16, ..., or the largest.

    Args:
      count: at least 1, at most `largest`.
      largest: a multiple of `multiple`.
      multiple: sizes are rounded up to its multiples.
    """
    size = 1
    while size < count:
        size *= _STEP
    return -(-min(size, largest) // multiple) * multiple


def length(tree: Tree) -> int:
    """n, the number of examples."""
    return len(jax.tree.leaves(tree)[0])


def cut(trees: Iterable[Tree], largest: int) -> Iterator[Tree]:
    """Trees in pieces of at most `largest` examples."""
    for tree in trees:
        count = length(tree)
        for start in range(0, count, largest):
            part = slice(start, start + largest)
            yield tree if count <= largest else jax.tree.map(lambda a: a[part], tree)  # noqa: B023


def regroup(trees: Iterable[Tree], count: int) -> Iterator[Tree]:
    """Trees joined and cut anew: `count` examples each, in their order; the last may have fewer."""
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
    """Calls a program on one piece after the other, and yields its results.

    A piece is dispatched before the result of the one before it is fetched, so that the device computes while the
    host copies. A piece that has none of the batch sizes is padded with its own first examples; their results are
    dropped.

    Args:
      call: takes and gives trees of arrays (batch, ...).
      trees: trees of numpy arrays (n, ...), any n; they are taken one at a time.
      largest: most examples per call, a multiple of `multiple`.
      multiple: batch sizes are its multiples.
      place: puts a batch onto the devices.

    Yields:
      A tree of numpy arrays for each piece: what `cut` makes of `trees`.
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
    """Parts of a whole as one tree of numpy arrays.

    Args:
      parts: trees of arrays (n, ...), at least one.
      total: their examples, all together.
      progress: is called after every part.

    Raises:
      InputError: `progress` is no function.
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
