"""The exponential of a skew-symmetric matrix, by scaling and squaring: expm(A) = expm(A / 2^s)^(2^s).

It consists of matrix products only, which accelerators compute quickly and compilers translate quickly. The general
`jax.scipy.linalg.expm` also solves linear systems.
"""

import functools
import math

import jax
import jax.numpy as jnp

from hcflow_jax.flows.annotations import Array, Float

_DEGREE = 12  # of the Taylor polynomial, which is evaluated in blocks of three powers (Paterson and Stockmeyer)
_SQUARINGS = 16  # at most

Matrix = Float[Array, "c c"]


def matmul(a: Array, b: Array) -> Array:
    """The matrix product a b at the highest precision."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def expm_skew(a: Matrix) -> Matrix:
    """The exponential of a skew-symmetric matrix, in its dtype.

    Such a matrix is normal. So sqrt(|A^2|), with the largest row sum of absolute values as norm, is at least its
    spectral norm. It is at most the row sum of A itself, which a general exponential uses, and often far smaller. So
    there are fewer squarings, and less rounding.

    Args:
      a: A, float32 or float64. The result is NaN if sqrt(|A^2|) exceeds about 10^5 (float64: 2 * 10^4).
    """
    square = matmul(a, a)
    norm = jnp.sqrt(jnp.max(jnp.sum(jnp.abs(jax.lax.stop_gradient(square)), -1)))
    # The first term that the polynomial leaves out is at most half a unit in the last place.
    radius = (float(jnp.finfo(a.dtype).eps) / 2 * math.factorial(_DEGREE + 1)) ** (1 / (_DEGREE + 1))
    times = jnp.maximum(jnp.ceil(jnp.log2(norm / radius)), 0)
    half = jnp.where(times <= _SQUARINGS, jnp.exp2(-times), jnp.nan)
    small = _taylor(a * half, square * half**2)
    return jax.lax.fori_loop(0, _SQUARINGS, lambda k, x: jnp.where(k < times, matmul(x, x), x), small)


def _taylor(a: Matrix, square: Matrix) -> Matrix:
    """The sum of A^k / k! for k up to `_DEGREE`, from A and A^2."""
    powers, cube = (jnp.eye(a.shape[-1], dtype=a.dtype), a, square), matmul(square, a)

    def block(first: int) -> Matrix:
        return functools.reduce(jnp.add, [power / math.factorial(first + k) for k, power in enumerate(powers)])

    total = block(_DEGREE - 3) + cube / math.factorial(_DEGREE)
    for first in range(_DEGREE - 6, -1, -3):
        total = matmul(total, cube) + block(first)
    return total
