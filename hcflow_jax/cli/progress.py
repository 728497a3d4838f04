"""Bars on a terminal, and work cut into the batches that move them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from hcflow_jax import api


def bar(total: int, what: str) -> "tqdm[Any]":
    """A bar on stderr; none where that is no terminal."""
    return tqdm(total=total, desc=what, unit=" images", leave=False, disable=None)


def batches(model: "api.Model", count: int, what: str) -> Iterator[slice]:
    """Runs of images, as many as the model computes at once, under a bar."""
    with bar(count, what) as progress:
        for start in range(0, count, model.batch_size):
            stop = min(count, start + model.batch_size)
            yield slice(start, stop)
            progress.update(stop - start)
