"""A mean over a batch that is too large to be computed at once."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

T = TypeVar("T")


def mean_over_runs(compute: Callable[[Array | int, Array], T], batch: Shaped[Array, "b ..."], runs: int) -> T:
    """The mean of what `compute` gives of equal runs of a batch, one after the other; of the whole with one run.

    Runs keep the samples' order: cut where statistics groups end, they hold the groups that the batch does.

    Args:
      compute: (first, run): the run's place in the batch, and its b / runs samples; gives a tree of float arrays that
        are means over the samples.
      batch: b a multiple of `runs`.
      runs: at least 1.

    Returns:
      A tree like that of `compute`: equal to compute(0, batch), up to the rounding of sums, where it is a mean over
      samples.
    """
    if runs == 1:
        return compute(0, batch)
    size = batch.shape[0] // runs
    cut = batch.reshape(runs, size, *batch.shape[1:])

    def add(total: T, numbered: tuple[Array, Array]) -> tuple[T, None]:
        number, run = numbered
        return jax.tree.map(jnp.add, total, compute(number * size, run)), None

    shapes = jax.eval_shape(compute, jnp.int32(0), cut[0])
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, (jnp.arange(runs), cut))
    return jax.tree.map(lambda value: value / runs, total)
