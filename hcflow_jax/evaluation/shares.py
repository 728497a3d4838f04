"""Divides the work on a set of images between processes, and gathers the results in every process.

Each process takes a run of consecutive images. The results are gathered once, in the order of the images, so that
they do not depend on the number of processes.
"""

from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Shaped


def part(count: int) -> range:
    """The indices, from 0 to count - 1, of the images that this process takes."""
    size = -(-count // jax.process_count())
    start = min(count, jax.process_index() * size)
    return range(start, min(count, start + size))


def smallest(count: int) -> int:
    """The number of images of the process that takes the fewest."""
    number = jax.process_count()
    return max(0, count - (number - 1) * -(-count // number))


def batches(places: range, size: int) -> Iterator[range]:
    """Splits a run of indices into runs of at most `size`."""
    for start in range(places.start, places.stop, size):
        yield range(start, min(start + size, places.stop))


def gathered(rows: Shaped[np.ndarray, "m *s"]) -> Shaped[np.ndarray, "n *s"]:
    """Gathers the rows of all processes, in the order of the processes. All processes must call it.

    Args:
      rows: the rows of this process. The number of rows may differ between processes.

    Returns:
      All rows, with their exact values.
    """
    if jax.process_count() == 1:
        return rows
    if rows.dtype.itemsize == 8:  # JAX would round 64-bit values to 32 bits, so send each as two 32-bit halves
        halves = gathered(np.ascontiguousarray(rows)[..., None].view(np.uint32))
        return halves.view(rows.dtype)[..., 0]
    counts = np.asarray(multihost_utils.process_allgather(np.asarray(len(rows))))
    padded = np.zeros((int(counts.max()), *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    whole = np.asarray(multihost_utils.process_allgather(padded))
    return np.concatenate([part[:count] for part, count in zip(whole, counts, strict=True)])
