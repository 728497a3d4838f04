"""Actnorm (Section 3, after Glow): one shift and one scale a channel, initialised from data."""

import jax.numpy as jnp
from jaxtyping import Array

from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, bijector, check_channels, per_sample, pixels


@bijector
class Actnorm(Bijector):
    """forward: z = (x - b) exp(-s) by channel; inverse: x = z exp(s) + b; log_det = -H W sum(s).

    Attributes:
      data_dependent: start with zero mean and unit unbiased std a channel over batch and space; else at zero.
    """

    data_dependent: bool = True

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        del key, cond
        return {"bias": jnp.zeros(x.shape[-1]), "scale": jnp.zeros(x.shape[-1])}

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Array]:
        if self.data_dependent:
            over = tuple(range(x.ndim - 1))
            std = jnp.std(x, over, ddof=1)
            params = {"bias": jnp.mean(x, over), "scale": jnp.log(jnp.maximum(std, 1e-6))}
        return params, self.forward(params, x, cond)[0]

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        check_channels("Actnorm", x, params["bias"].shape)
        z = (x - params["bias"]) * jnp.exp(-params["scale"])
        return z, per_sample(-pixels(x) * jnp.sum(params["scale"]), x)

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        check_channels("Actnorm", z, params["bias"].shape)
        x = z * jnp.exp(params["scale"]) + params["bias"]
        return x, per_sample(pixels(z) * jnp.sum(params["scale"]), z)
