"""Halving and doubling of images, anti-aliased or bilinear, any number of times in one pass.

Resampling is linear and separable. Along one axis it is a matrix; several resamplings are the product of their
matrices. A sample depends only on its neighbours, so the matrix has few bands. The implementation "taps" uses these
bands: `spread` (coarse to fine) and its transpose `gather` are weighted sums of shifted samples, computed in one
elementwise kernel per axis. Each is the gradient of the other. At the edges only the weights differ. The
implementation "matrix" multiplies by the matrix, which is faster on some devices.
"""

import functools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Image = Float[Array, "b h w c"]
Resized = Float[Array, "b _ _ c"]
Matrix = Float[np.ndarray, "out n"]

IMPLEMENTATIONS = ("taps", "matrix")

# Rules: each gives the matrix of one halving or doubling of n samples.


def _down(n: int) -> Matrix:
    """(n/2, n): taps [1, 3, 3, 1] / 8, reflect padding (x[-1] = x[1], x[n] = x[n-2])."""
    matrix = np.zeros((n // 2, n))
    for i in range(n // 2):
        for at, tap in zip(range(2 * i - 1, 2 * i + 3), (1, 3, 3, 1), strict=True):
            matrix[i, n - 1 - abs(n - 1 - abs(at))] += tap / 8
    return matrix


def _up(n: int) -> Matrix:
    """(2n, n): (x[i-1] + 3 x[i]) / 4 and (3 x[i] + x[i+1]) / 4 with x[-1] = x[0] and x[n] = x[n-2]."""
    return _two_taps(n, beyond=n - 2)


def _bilinear(n: int) -> Matrix:
    """(2n, n): as `_up`, but with x[n] = x[n-1]: bilinear, with half-pixel centres."""
    return _two_taps(n, beyond=n - 1)


def _two_taps(n: int, beyond: int) -> Matrix:
    matrix = np.zeros((2 * n, n))
    for i in range(n):
        for row, neighbour in ((2 * i, max(i - 1, 0)), (2 * i + 1, i + 1 if i + 1 < n else beyond)):
            matrix[row, i] += 3 / 4
            matrix[row, neighbour] += 1 / 4
    return matrix


def _mean(n: int) -> Matrix:
    """(n/2, n): the means of pairs."""
    return np.repeat(np.eye(n // 2), 2, 1) / 2


def _aligned(n: int, size: int) -> Matrix:
    """(size, n): bilinear, with aligned corners: the first and the last sample keep their positions."""
    at = np.arange(size) * (n - 1) / (size - 1) if size > 1 else np.zeros(1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n)[None]))


def _coupling_halve(n: int) -> Matrix:
    return _down(n) if n > 4 else _aligned(n, n // 2)


def _coupling_double(n: int) -> Matrix:
    return _up(n) if n > 4 else _aligned(n, 2 * n)


def _decoder_halve(n: int) -> Matrix:
    return _down(n) if n > 8 else _mean(n)


def _decoder_double(n: int) -> Matrix:
    return _up(n) if n > 8 else _bilinear(n)


Rule = Callable[[int], Matrix]


@functools.cache
def matrix(rule: Rule, n: int, times: int) -> Matrix:
    """The matrix of several halvings or doublings by a rule, (out, n). It is read-only.

    Args:
      rule: one of the rules in this file.
      n: the number of samples.
      times: the number of halvings or doublings.
    """
    product = np.eye(n)
    for _ in range(times):
        product = rule(len(product)) @ product
    product.flags.writeable = False
    return product


class Bands:
    """The bands of a matrix (s m, m), with y = matrix x: y[s i + p] = sum over d of weights[d][i, p] x[i + d].

    It is compared and hashed by identity. `bands` makes only one for each resampling.
    """

    def __init__(self, full: Matrix):
        """Finds the bands.

        Args:
          full: the matrix, (s m, m).
        """
        fine, m = full.shape
        self.phases, self.coarse = fine // m, m
        rows, columns = np.nonzero(full)
        self.weights: dict[int, np.ndarray] = {}
        for d in sorted(set((columns - rows // self.phases).tolist())):
            weights = np.zeros((m, self.phases))
            for i in range(max(0, -d), min(m, m - d)):
                weights[i] = full[self.phases * i : self.phases * (i + 1), i + d]
            self.weights[d] = weights


@functools.cache
def bands(rule: Rule, n: int, times: int) -> Bands:
    """The bands of several doublings by a rule, or of the transpose of halvings. Arguments as in `matrix`."""
    full = matrix(rule, n, times)
    return Bands(full if full.shape[0] >= n else full.T)


def _shift(x: Array, axis: int, by: int) -> Array:
    """x[i - by] along an axis, with zeros outside."""
    if by == 0:
        return x
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), padding)


def _weigh(weights: np.ndarray, x: Array, axis: int) -> Array:
    """Weights along an axis times x. Equal weights become one number."""
    if np.all(weights == weights[0]):
        return jnp.asarray(weights[0], x.dtype) * x
    shape = [1] * x.ndim
    shape[axis] = -1
    return jnp.asarray(weights, x.dtype).reshape(shape) * x


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def spread(band: Bands, axis: int, x: Array) -> Array:
    """Maps m samples to s m along an axis, by the bands of a matrix (s m, m)."""
    coarse = jnp.expand_dims(x, axis + 1)
    shape = [1] * coarse.ndim
    shape[axis : axis + 2] = band.coarse, band.phases
    y = _sum(jnp.asarray(w, x.dtype).reshape(shape) * _shift(coarse, axis, -d) for d, w in band.weights.items())
    return y.reshape(*x.shape[:axis], band.phases * x.shape[axis], *x.shape[axis + 1 :])


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def gather(band: Bands, axis: int, x: Array) -> Array:
    """Maps s m samples to m along an axis: the transpose of `spread` with the same bands."""
    grouped = x.reshape(*x.shape[:axis], band.coarse, band.phases, *x.shape[axis + 1 :])
    phases = [jax.lax.index_in_dim(grouped, p, axis + 1, keepdims=False) for p in range(band.phases)]

    def share(weights: np.ndarray) -> Array:
        return _sum(_weigh(w, phase, axis) for w, phase in zip(weights.T, phases, strict=True) if w.any())

    return _sum(_shift(share(weights), axis, d) for d, weights in band.weights.items())


def _sum(parts: Iterable[Array]) -> Array:
    return functools.reduce(jnp.add, parts)


spread.defvjp(lambda band, axis, x: (spread(band, axis, x), None), lambda band, axis, _, g: (gather(band, axis, g),))
gather.defvjp(lambda band, axis, x: (gather(band, axis, x), None), lambda band, axis, _, g: (spread(band, axis, g),))


def apply(rule: Rule, x: Image, times: int = 1, implementation: str = "taps") -> Resized:
    """Halves or doubles both axes of images by a rule.

    Args:
      rule: one of the rules in this file.
      x: images, (b, h, w, c).
      times: the number of halvings or doublings; 0 gives x itself.
      implementation: "taps" (elementwise operations) or "matrix" (products with small matrices).
    """
    if times == 0:
        return x
    for axis in (1, 2):
        full = matrix(rule, x.shape[axis], times)
        if implementation == "matrix":
            x = _product(full, axis, x)
        else:
            band = bands(rule, x.shape[axis], times)
            x = (spread if full.shape[0] >= full.shape[1] else gather)(band, axis, x)
    return x


def _product(full: Matrix, axis: int, x: Array) -> Array:
    """The product of a matrix and x along an axis.

    In bfloat16 the weights of anti-aliased resampling are exact; those of aligned corners are rounded.
    """
    letters = "bhwc"
    made = letters.replace(letters[axis], "i")
    return jnp.einsum(f"i{letters[axis]},{letters}->{made}", jnp.asarray(full, x.dtype), x)


down = partial(apply, _down)
up = partial(apply, _up)
mean_halve = partial(apply, _mean)
bilinear_double = partial(apply, _bilinear)
coupling_halve = partial(apply, _coupling_halve)
coupling_double = partial(apply, _coupling_double)
decoder_halve = partial(apply, _decoder_halve)
decoder_double = partial(apply, _decoder_double)


def aligned(x: Image, size: int) -> Resized:
    """Bilinear resampling to size x size with aligned corners."""
    for axis in (1, 2):
        x = _product(_aligned(x.shape[axis], size), axis, x)
    return x


def doubled_moments(x: Image, times: int) -> tuple[Array, Array]:
    """The mean and the sum of squared deviations of `coupling_double(x, times)`, computed without doubling.

    Let U be the matrix of an axis. The mean is the mean of x weighted by the column sums of U. The sum of squares of
    the centred x is <x, G x G> with G = U^T U, which has five bands.

    Args:
      x: (b, h, w, c), float32.
      times: the number of doublings.

    Returns:
      The mean and the sum of squared deviations over the doubled positions, (b, 1, 1, c) each.
    """
    sides = [matrix(_coupling_double, n, times) for n in x.shape[1:3]]
    count = np.prod([len(side) for side in sides])
    columns = np.outer(sides[0].sum(0), sides[1].sum(0)) / count
    mean = jnp.sum(x * jnp.asarray(columns[..., None], x.dtype), (1, 2), keepdims=True)
    centred = x - mean
    weighed: Any = centred
    for axis, n in zip((1, 2), x.shape[1:3], strict=True):
        weighed = spread(_gram(n, times), axis, weighed)
    return mean, jnp.sum(centred * weighed, (1, 2), keepdims=True)


@functools.cache
def _gram(n: int, times: int) -> Bands:
    side = matrix(_coupling_double, n, times)
    return Bands(side.T @ side)
