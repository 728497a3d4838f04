"""The affine map of couplings, injectors and priors: z = (x - b) exp(-s), which is Eq. 2 from data to latent."""

import jax.numpy as jnp

from hcflow_jax.flows.annotations import Array, Float
from hcflow_jax.flows.base import LogDet
from hcflow_jax.flows.checking import at_least_float32

SCALE_LIMIT = 3.0  # |s| of couplings and injectors
SHIFT_LIMIT = 5.0  # |b| of couplings


def affine_forward(x: Float[Array, "b *d"], s: Array, b: Array) -> tuple[Array, LogDet]:
    """z = (x - b) exp(-s) and its log-det -sum(s), (batch,), nats.

    Both are computed in x's dtype, but at least in float32.

    Args:
      x: data.
      s: the log-scale, of x's shape or one that can be broadcast to it.
      b: the shift, likewise.
    """
    x, s, b = (a.astype(at_least_float32(x)) for a in (x, s, b))
    return (x - b) * jnp.exp(-s), -_sum(s, x)


def affine_inverse(z: Float[Array, "b *d"], s: Array, b: Array) -> tuple[Array, LogDet]:
    """x = z exp(s) + b and its log-det sum(s), (batch,), nats: the inverse of `affine_forward`."""
    z, s, b = (a.astype(at_least_float32(z)) for a in (z, s, b))
    return z * jnp.exp(s) + b, _sum(s, z)


def _sum(s: Array, x: Array) -> LogDet:
    return jnp.sum(jnp.broadcast_to(s, x.shape), axis=tuple(range(1, x.ndim)))
