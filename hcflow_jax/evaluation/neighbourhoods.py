"""Precision and recall of generated images: the share of each set that lies in the neighbourhoods of the other."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from hcflow_jax.evaluation.kernel import check_pair

NEIGHBOURS = 3  # the usual k
_BLOCK = 1 << 27  # bytes of squared distances in memory at once


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Improved precision and recall (Kynkaanniemi et al., 2019).

    Attributes:
      precision: the share of the generated set that lies in a ball around some real feature.
      recall: the share of the real set that lies in a ball around some generated feature.
      neighbours: k. The radius of a feature's ball is its distance to the k-th nearest other feature of its set.
    """

    precision: float
    recall: float
    neighbours: int


def precision_recall(
    generated: Float[np.ndarray, "m d"], real: Float[np.ndarray, "n d"], neighbours: int = NEIGHBOURS
) -> PrecisionRecall:
    """Computes precision and recall from features. Memory does not grow with m times n.

    Args:
      generated: features of generated images.
      real: features of real images.
      neighbours: k, see `PrecisionRecall`.

    Raises:
      InputError: features are not finite, have different lengths, or are fewer than 2.
    """
    check_pair(generated, real)
    generated, real = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    inside_real = _inside(generated, real, _radii(real, neighbours))
    inside_generated = _inside(real, generated, _radii(generated, neighbours))
    return PrecisionRecall(float(inside_real.mean()), float(inside_generated.mean()), neighbours)


def _radii(x: Float[np.ndarray, "n d"], neighbours: int) -> Float[np.ndarray, " n"]:
    """The squared distance of each row to its k-th nearest other row, or to the farthest if fewer than k exist."""
    k = min(neighbours, len(x) - 1)
    radii = np.empty(len(x))
    for start, squares in _squares(x, x):
        rows = np.arange(len(squares))
        squares[rows, start + rows] = np.inf  # exclude the row itself
        radii[start : start + len(squares)] = np.partition(squares, k - 1, axis=1)[:, k - 1]
    return radii


def _inside(
    points: Float[np.ndarray, "m d"], centres: Float[np.ndarray, "n d"], radii: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " m"]:
    """Whether each point lies in some ball. `radii` are squared."""
    parts = [(squares <= radii).any(1) for _, squares in _squares(points, centres)]
    return np.concatenate(parts)


def _squares(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields squared distances of the rows of x to all rows of y, in blocks: index of the first row, and block."""
    own, other = (x**2).sum(1), (y**2).sum(1)
    rows = max(1, _BLOCK // (8 * len(y)))
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        yield start, np.maximum(own[start : start + rows, None] - 2 * block @ y.T + other, 0)
