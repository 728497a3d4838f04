"""uint8 to x and back, on the device; all of it is jit-able.

x lies in about [-0.5, 0.5], and one level of an 8-bit value is 1/256 of it. Whatever is random here comes
from a key of the sample's own, so the draws do not depend on how a batch is cut over devices.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from hcflow_jax.config import ConfigError


def dequantise(u: Float[Array, "*s"], images: UInt8[Array, "*s"], bits: int) -> Float[Array, "*s"]:
    """Spreads each value evenly over its bin: floor(v / 2^(8-n)) / 2^n + u / 2^n - 0.5.

    Args:
      u: where in its bin each value goes, in [0, 1).
      images: values v.
      bits: n, bits kept of the 8.

    Returns:
      x in [-0.5, 0.5), in the bin of its value even after rounding to float32.
    """
    width = 2.0**-bits
    start = (images >> (8 - bits)).astype(jnp.float32) * width - 0.5
    # At 8 bits the float below a bin's end is 2^-18 of a bin away: u may be nearer to 1 than that.
    return jnp.minimum(start + u * width, jnp.nextafter(start + width, jnp.float32(-1)))


def augment(
    keys: Key[Array, " B"],
    images: UInt8[Array, "B R R 3"],
    *,
    bits: int,
    noise_std: float,
    flip: bool,
) -> Float[Array, "B R R 3"]:
    """What training and the bound see: mirrored (p = 0.5), dequantised, with Gaussian noise.

    Args:
      keys: a typed key a sample, split into (flip, uniform, gaussian).
      images: uint8 pictures.
      bits: n, bits kept of each value, 1 to 8 (`data.bits`). Bits per dimension add n.
      noise_std: std of the noise in units of x (`data.noise_std`; 0.005 in the paper).
      flip: whether to mirror; the bound does not. The other draws are the same either way.

    Returns:
      x, float32.

    Raises:
      ConfigError: naming `data.bits`, unless it is 1 to 8.
    """
    if not 1 <= bits <= 8:
        raise ConfigError(f"data.bits is {bits}: expected 1 to 8")

    def one(key: Key[Array, ""], image: UInt8[Array, "R R 3"]) -> Float[Array, "R R 3"]:
        flip_key, uniform_key, gaussian_key = jax.random.split(key, 3)
        if flip:
            image = jnp.where(jax.random.bernoulli(flip_key, jnp.float32(0.5)), image[:, ::-1], image)
        x = dequantise(jax.random.uniform(uniform_key, image.shape, jnp.float32), image, bits)
        return x + noise_std * jax.random.normal(gaussian_key, image.shape, jnp.float32)

    return jax.vmap(one)(keys, images)


def to_x(images: UInt8[Array, "*s"]) -> Float[Array, "*s"]:
    """For use: the centre of a value's bin, (v + 0.5) / 256 - 0.5; exact in float32."""
    return (images.astype(jnp.float32) + 0.5) / 256 - 0.5


def to_uint8(x: Float[Array, "*s"]) -> UInt8[Array, "*s"]:
    """For use: floor(256 (x + 0.5)), clipped to [0, 255]. An error below 1/512 of `to_x` changes no value."""
    return jnp.clip(jnp.floor(256 * (x.astype(jnp.float32) + 0.5)), 0, 255).astype(jnp.uint8)
