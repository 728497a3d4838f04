"""Halving and doubling of images, anti-aliased or bilinear, as weighted sums of neighbouring samples.

Along one axis doubling is a *spread*: sample i gives outputs 2i and 2i+1, each its own share plus a share of one
neighbour. Halving is its transpose, a *gather* over even and odd samples. Edges are weights like any other, so
either is one elementwise kernel an axis: nothing inserts zeros, pads by reflection or needs a grouped
convolution, and either is the other's gradient.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Image = Float[Array, "b h w c"]


class Taps(NamedTuple):
    """Weights along an axis of m samples; each is (m,) or a number.

    even[i] = even_own x[i] + side x[i-1];  odd[i] = odd_own x[i] + side x[i+1] + odd_back x[i-1],
    with zeros outside.
    """

    even_own: np.ndarray
    odd_own: np.ndarray
    side: float
    odd_back: np.ndarray


def _taps(kind: str, m: int) -> Taps:
    """The taps of a resampling over m coarse samples.

    "down": [1, 3, 3, 1] / 8 with reflect padding (x[-1] = x[1], x[n] = x[n-2]), read as a gather.
    "up": (x[i-1] + 3 x[i]) / 4 and (3 x[i] + x[i+1]) / 4 with x[-1] = x[0] and x[m] = x[m-2].
    "bilinear": the same with x[-1] = x[0] and x[m] = x[m-1]: half-pixel centres.
    """
    first, last = np.eye(m)[0], np.eye(m)[-1]
    if kind == "down":
        return Taps((3 + last) / 8, (3 + first) / 8, 1 / 8, 0 * last)
    if kind == "up":
        return Taps((3 + first) / 4, 3 / 4 + 0 * last, 1 / 4, last / 4)
    return Taps((3 + first) / 4, (3 + last) / 4, 1 / 4, 0 * last)


def _shift(x: Array, axis: int, by: int) -> Array:
    """x[i - by] along an axis, zeros outside."""
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), padding)


def _along(weights: np.ndarray, x: Array, axis: int) -> Array:
    """Weights shaped to multiply x along an axis; a number where all are the same."""
    if np.all(weights == weights[0]):
        return jnp.asarray(weights[0], x.dtype)
    shape = [1] * x.ndim
    shape[axis] = -1
    return jnp.asarray(weights, x.dtype).reshape(shape)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _spread(kind: str, axis: int, x: Array) -> Array:
    """Doubles an axis."""
    taps = _taps(kind, x.shape[axis])
    before, after = _shift(x, axis, 1), _shift(x, axis, -1)
    even = _along(taps.even_own, x, axis) * x + taps.side * before
    odd = _along(taps.odd_own, x, axis) * x + taps.side * after
    if taps.odd_back.any():
        odd += _along(taps.odd_back, x, axis) * before
    shape = x.shape[:axis] + (2 * x.shape[axis],) + x.shape[axis + 1 :]
    return jnp.stack([even, odd], axis + 1).reshape(shape)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gather(kind: str, axis: int, x: Array) -> Array:
    """Halves an axis: the transpose of `_spread`."""
    m = x.shape[axis] // 2
    taps = _taps(kind, m)
    pairs = x.reshape(x.shape[:axis] + (m, 2) + x.shape[axis + 1 :])
    even, odd = (jax.lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in (0, 1))
    own = _along(taps.even_own, even, axis) * even + _along(taps.odd_own, odd, axis) * odd
    out = own + taps.side * (_shift(even, axis, -1) + _shift(odd, axis, 1))
    if taps.odd_back.any():
        out += _shift(_along(taps.odd_back, odd, axis) * odd, axis, -1)
    return out


_spread.defvjp(
    lambda kind, axis, x: (_spread(kind, axis, x), None), lambda kind, axis, _, g: (_gather(kind, axis, g),)
)
_gather.defvjp(
    lambda kind, axis, x: (_gather(kind, axis, x), None), lambda kind, axis, _, g: (_spread(kind, axis, g),)
)


def down(x: Image) -> Image:
    """Anti-aliased halving, taps [1, 3, 3, 1] / 8 along both axes, reflect padding."""
    return _gather("down", 2, _gather("down", 1, x))


def up(x: Image) -> Image:
    """Anti-aliased doubling, taps [1, 3] / 4 and [3, 1] / 4 along both axes; its two edges differ."""
    return _spread("up", 2, _spread("up", 1, x))


def mean_halve(x: Image) -> Image:
    """2x2 mean: bilinear halving with half-pixel centres."""
    b, h, w, c = x.shape
    return jnp.mean(x.reshape(b, h // 2, 2, w // 2, 2, c), (2, 4))


def bilinear_double(x: Image) -> Image:
    """Bilinear doubling with half-pixel centres."""
    return _spread("bilinear", 2, _spread("bilinear", 1, x))


def aligned(x: Image, size: int) -> Image:
    """Bilinear to size x size with aligned corners, by a small interpolation matrix an axis."""
    matrices = (jnp.asarray(_aligned_matrix(n, size), x.dtype) for n in x.shape[1:3])
    return jnp.einsum("bhwc,ih,jw->bijc", x, *matrices)


def _aligned_matrix(n: int, size: int) -> np.ndarray:
    """Row i: weights of the n samples at position i (n - 1) / (size - 1); (size, n)."""
    at = np.arange(size) * (n - 1) / (size - 1) if size > 1 else np.zeros(1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n)[None])).astype(np.float32)


def coupling_halve(x: Image) -> Image:
    """Halving in a coupling's U-Net: anti-aliased above 4 pixels, else bilinear with aligned corners."""
    return down(x) if x.shape[1] > 4 else aligned(x, x.shape[1] // 2)


def coupling_double(x: Image) -> Image:
    """Doubling in a coupling's U-Net: anti-aliased above 4 pixels, else bilinear with aligned corners."""
    return up(x) if x.shape[1] > 4 else aligned(x, x.shape[1] * 2)


def decoder_halve(x: Image) -> Image:
    """Halving in a decoder's U-Net: anti-aliased above 8 pixels, else the 2x2 mean."""
    return down(x) if x.shape[1] > 8 else mean_halve(x)


def decoder_double(x: Image) -> Image:
    """Doubling in a decoder's U-Net: anti-aliased above 8 pixels, else bilinear with half-pixel centres."""
    return up(x) if x.shape[1] > 8 else bilinear_double(x)


def repeat(resample: Callable[[Image], Image], times: int, x: Image) -> Image:
    """`resample` applied `times` times."""
    for _ in range(times):
        x = resample(x)
    return x
