"""Squeeze (Real NVP, Section 3.6): moves the pixels of small squares into channels."""

from typing import ClassVar

import jax.numpy as jnp

from hcflow_jax.errors import InputError
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, bijector


@bijector
class Squeeze(Bijector):
    """(n, h, w, c) -> (n, h/f, w/f, c f^2); log_det = 0.

    Channel c at pixel (f i + a, f j + b) becomes channel f^2 c + f a + b at pixel (i, j).

    >>> import jax.numpy as jnp
    >>> from hcflow_jax import flows
    >>> z, log_det = flows.Squeeze().forward({}, jnp.arange(4.0).reshape(1, 2, 2, 1))
    >>> z.shape, z.ravel().tolist()
    ((1, 1, 1, 4), [0.0, 1.0, 2.0, 3.0])

    Attributes:
      factor: f, the side of a square, pixels.
    """

    takes_cond: ClassVar[bool] = False

    factor: int = 2

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        f = self.factor
        if x.ndim != 4 or x.shape[1] % f or x.shape[2] % f:
            raise InputError(
                f"Squeeze: x must be (batch, h, w, channels) with h and w multiples of {f}, but has shape {x.shape}"
            )
        n, h, w, c = x.shape
        x = x.reshape(n, h // f, f, w // f, f, c).transpose(0, 1, 3, 5, 2, 4)
        return x.reshape(n, h // f, w // f, c * f * f), jnp.zeros(n, x.dtype)

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        f = self.factor
        if z.ndim != 4 or z.shape[-1] % (f * f):
            raise InputError(
                f"Squeeze: z must be (batch, h, w, channels) with channels a multiple of {f * f}, "
                f"but has shape {z.shape}"
            )
        n, h, w, c = z.shape
        z = z.reshape(n, h, w, c // (f * f), f, f).transpose(0, 1, 4, 2, 5, 3)
        return z.reshape(n, h * f, w * f, c // (f * f)), jnp.zeros(n, z.dtype)
