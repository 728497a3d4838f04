"""2-D convolution that keeps the size of the image, with four implementations.

- "xla": XLA's own convolution and gradients.
- "shifted": the weight gradient is computed with matrix products of the shifted input, one per row of the kernel; the
  gradient of the input is a convolution with the flipped kernel. On CPUs XLA's own weight gradient is 3 to 6 times
  slower, and inside a loop 16 to 30 times.
- "paired": as "xla"; a layer then computes the gradients of its kernel, bias and input together (`layers.Conv`).
- "padded": as "xla", but with numbers of channels that are multiples of 8, as tensor cores need. Channels of zeros
  are added to the input and removed from the result.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Image = Float[Array, "b h w c"]
Kernel = Float[Array, "k k c d"]

IMPLEMENTATIONS = ("xla", "paired", "shifted", "padded")


def convolve(x: Image, w: Kernel, implementation: str) -> Float[Array, "b h w d"]:
    """Cross-correlation with stride 1 and zero padding (k-1)/2, NHWC and HWIO. A 1x1 kernel is a matrix product.

    Args:
      x: images, (b, h, w, c).
      w: the kernel, (k, k, c, d).
      implementation: one of `IMPLEMENTATIONS`.
    """
    if w.shape[:2] == (1, 1):
        return jnp.einsum("bhwc,cd->bhwd", x, w[0, 0])
    if implementation == "padded":
        return _xla(_in_eights(x, 3), _in_eights(_in_eights(w, 2), 3))[..., : w.shape[3]]
    return _shifted(x, w) if implementation == "shifted" else _xla(x, w)


def _in_eights(a: Array, axis: int) -> Array:
    """Adds zeros at the end of an axis, up to a multiple of 8."""
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
    # The array with fewer channels is shifted: this needs fewer copies, and gives matrices that are closer to square.
    if c < d:
        rows = [row.T @ g.reshape(-1, d) for row in _shifted_rows(x, k)]
        dw = jnp.stack(rows).reshape(w.shape)
    else:
        rows = [x.reshape(-1, c).T @ row for row in _shifted_rows(g, k)]
        dw = jnp.stack(rows).reshape(k, c, k, d)[::-1, :, ::-1].swapaxes(1, 2)
    return _xla(g, w[::-1, ::-1].swapaxes(2, 3)), dw


def _shifted_rows(x: Image, k: int) -> list[Array]:
    """x shifted for a k x k kernel: for each row of the kernel, an array (b h w, k c) with all its columns."""
    height, width, channels = x.shape[1:]
    padded = jnp.pad(x, ((0, 0), (k // 2,) * 2, (k // 2,) * 2, (0, 0)))
    columns = jnp.concatenate([padded[:, :, j : j + width] for j in range(k)], -1)
    return [columns[:, i : i + height].reshape(-1, k * channels) for i in range(k)]


_shifted.defvjp(_shifted_forward, _shifted_backward)
