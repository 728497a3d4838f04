"""A same-size 2-D convolution whose gradients are written out where XLA's own are slow.

On CPUs XLA computes a convolution's weight gradient 3 to 6 times slower than matrix products with the shifted input
do, and inside a loop 16 to 30 times. "shifted" uses those products, a row of the kernel each, and a convolution
with the flipped kernel for the input's gradient; "xla" leaves both to XLA. "padded" does too, and gives it channels
in eights, which tensor cores want: zeros are added to the input and taken off the result.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "b h w c"]
Kernel = Float[Array, "k k c d"]

IMPLEMENTATIONS = ("xla", "shifted", "padded")


def convolve(x: Image, w: Kernel, implementation: str) -> Float[Array, "b h w d"]:
    """Cross-correlation, stride 1, zero padding (k-1)/2, NHWC and HWIO; a 1x1 kernel is a matrix product."""
    if w.shape[:2] == (1, 1):
        return jnp.einsum("bhwc,cd->bhwd", x, w[0, 0])
    if implementation == "padded":
        return _xla(_in_eights(x, 3), _in_eights(_in_eights(w, 2), 3))[..., : w.shape[3]]
    return _shifted(x, w) if implementation == "shifted" else _xla(x, w)


def _in_eights(a: Array, axis: int) -> Array:
    """Zeros at the end of an axis up to a multiple of 8."""
    return jnp.pad(a, [(0, -a.shape[i] % 8 if i == axis else 0) for i in range(a.ndim)])


def _xla(x: Image, w: Kernel) -> Array:
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@jax.custom_vjp
def _shifted(x: Image, w: Kernel) -> Array:
    return _xla(x, w)


def _shifted_forward(x: Image, w: Kernel) -> tuple[Array, tuple[Array, Array]]:
    return _xla(x, w), (x, w)


def _shifted_backward(residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, w = residuals
    k, _, c, d = w.shape
    # Whichever has fewer channels is shifted: fewer copies, and products that are less lopsided.
    if c < d:
        rows = [row.T @ g.reshape(-1, d) for row in _shifted_rows(x, k)]
        dw = jnp.stack(rows).reshape(w.shape)
    else:
        rows = [x.reshape(-1, c).T @ row for row in _shifted_rows(g, k)]
        dw = jnp.stack(rows).reshape(k, c, k, d)[::-1, :, ::-1].swapaxes(1, 2)
    return _xla(g, w[::-1, ::-1].swapaxes(2, 3)), dw


def _shifted_rows(x: Image, k: int) -> list[Array]:
    """For each row of a k x k kernel, x shifted to each of its columns: k of (b h w, k c), zero padded."""
    height, width, channels = x.shape[1:]
    padded = jnp.pad(x, ((0, 0), (k // 2,) * 2, (k // 2,) * 2, (0, 0)))
    columns = jnp.concatenate([padded[:, :, j : j + width] for j in range(k)], -1)
    return [columns[:, i : i + height].reshape(-1, k * channels) for i in range(k)]


_shifted.defvjp(_shifted_forward, _shifted_backward)
