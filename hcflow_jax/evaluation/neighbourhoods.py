"""Precision and recall of generated images: how much of each set lies in the other's neighbourhoods."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float

from hcflow_jax.evaluation.kernel import check_pair

NEIGHBOURS = 3  # k
_BLOCK = 1 << 27  # bytes of squared distances held at once


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Improved precision and recall (Kynkaanniemi et al., 2019).

    Attributes:
      precision: share of the generated set that lies in a ball of the real one.
      recall: share of the real set that lies in a ball of the generated one.
      neighbours: k: the radius of a ball is the distance to the k-th nearest other member of its set.
    """

    precision: float
    recall: float
    neighbours: int


def precision_recall(
    generated: Float[np.ndarray, "m d"], real: Float[np.ndarray, "n d"], neighbours: int = NEIGHBOURS
) -> PrecisionRecall:
    """Precision and recall from features, in blocks: memory does not grow with m times n.

    Args:
      generated: features of generated images.
      real: features of real images.
      neighbours: k.

    Raises:
      InputError: for features that are not finite, of different lengths, or fewer than 2.
    """
    check_pair(generated, real)
    generated, real = np.asarray(generated, np.float64), np.asarray(real, np.float64)
    inside_real = _inside(generated, real, _radii(real, neighbours))
    inside_generated = _inside(real, generated, _radii(generated, neighbours))
    return PrecisionRecall(float(inside_real.mean()), float(inside_generated.mean()), neighbours)


def _radii(x: Float[np.ndarray, "n d"], neighbours: int) -> Float[np.ndarray, " n"]:
    """Squared distance of each to its k-th nearest other member; fewer members have the farthest's."""
    k = min(neighbours, len(x) - 1)
    radii = np.empty(len(x))
    for start, squares in _squares(x, x):
        rows = np.arange(len(squares))
        squares[rows, start + rows] = np.inf  # itself
        radii[start : start + len(squares)] = np.partition(squares, k - 1, axis=1)[:, k - 1]
    return radii


def _inside(
    points: Float[np.ndarray, "m d"], centres: Float[np.ndarray, "n d"], radii: Float[np.ndarray, " n"]
) -> Bool[np.ndarray, " m"]:
    """Whether each point lies in some ball."""
    parts = [(squares <= radii).any(1) for _, squares in _squares(points, centres)]
    return np.concatenate(parts)


def _squares(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Squared distances of x's rows to all of y's, a block of rows after the other, with the first row's place."""
    own, other = (x**2).sum(1), (y**2).sum(1)
    rows = max(1, _BLOCK // (8 * len(y)))
    for start in range(0, len(x), rows):
        block = x[start : start + rows]
        yield start, np.maximum(own[start : start + rows, None] - 2 * block @ y.T + other, 0)
