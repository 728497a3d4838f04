"""What each of several processes does of a set, and how the parts become one result in every process.

Each process takes a run of neighbouring images, whole units of them. Results are gathered once, in the order of the
images, so that they do not depend on the number of processes.
"""

from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Shaped


def part(count: int) -> range:
    """The places of the images that this process takes, of `count`."""
    size = -(-count // jax.process_count())
    start = min(count, jax.process_index() * size)
    return range(start, min(count, start + size))


def batches(places: range, size: int) -> Iterator[range]:
    """A run of places, at most `size` at a time."""
    for start in range(places.start, places.stop, size):
        yield range(start, min(start + size, places.stop))


def gathered(rows: Shaped[np.ndarray, "m *s"]) -> Shaped[np.ndarray, "n *s"]:
    """The rows of all processes, in the order of the processes. All of them have to call it.

    Args:
      rows: this process's; each process may have another number of them. Nothing is rounded.
    """
    if jax.process_count() == 1:
        return rows
    if rows.dtype.itemsize == 8:  # JAX would round 64 bits to 32: send them as pairs
        halves = gathered(np.ascontiguousarray(rows)[..., None].view(np.uint32))
        return halves.view(rows.dtype)[..., 0]
    counts = np.asarray(multihost_utils.process_allgather(np.asarray(len(rows))))
    padded = np.zeros((int(counts.max()), *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    whole = np.asarray(multihost_utils.process_allgather(padded))
    return np.concatenate([part[:count] for part, count in zip(whole, counts, strict=True)])
