"""The weights of layers as matrices, padded with zeros and stacked, for Muon.

A model has hundreds of weight matrices of a hundred shapes. In stacks of similar shapes they need few kernels.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

Matrices = Float[Array, "n rows columns"]

WEIGHTS = "w"  # the last name in the path of a layer's weights
_LEAST_SIDE = 16  # of padded matrices


def is_matrix(path: Sequence[str], shape: tuple[int, ...]) -> bool:
    """Whether a parameter is the weights of a layer."""
    return path[-1] == WEIGHTS and len(shape) >= 2


def sides(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The number of matrices in a layer's weights, their rows and their columns. Rows are the shorter side.

    Args:
      shape: (in, out) or (h, w, in, out), or with an axis of repeated steps before. Each step has a matrix.
    """
    number = shape[0] if len(shape) % 2 else 1
    one, other = math.prod(shape) // number // shape[-1], shape[-1]
    return number, min(one, other), max(one, other)


def padded(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns after padding: powers of 2."""
    _, rows, columns = sides(shape)
    return _padded(rows), _padded(columns)


def _padded(side: int) -> int:
    return 2 ** math.ceil(math.log2(max(side, _LEAST_SIDE)))


def to_matrices(weights: Float[Array, "..."]) -> Matrices:
    """The padded matrices of a layer's weights."""
    number, rows, columns = sides(weights.shape)
    matrices = weights.reshape(number, -1, weights.shape[-1])
    matrices = matrices if matrices.shape[1] == rows else matrices.mT
    return jnp.pad(matrices, ((0, 0), (0, _padded(rows) - rows), (0, _padded(columns) - columns)))


def from_matrices(matrices: Matrices, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """The inverse of `to_matrices`, for weights of a shape."""
    number, rows, columns = sides(shape)
    own = matrices[:, :rows, :columns]
    return (own if math.prod(shape) // number // shape[-1] == rows else own.mT).reshape(shape)
