"""Actnorm (docs/model.md, Eq. D; after Glow): one shift and one scale per channel, initialised from data."""

from typing import ClassVar

import jax.numpy as jnp

from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, bijector, check_channels, per_sample, pixels


@bijector
class Actnorm(Bijector):
    """forward: z = (x - b) exp(-s) per channel; inverse: x = z exp(s) + b; log_det = -H W sum(s).

    >>> import jax.numpy as jnp
    >>> from hcflow_jax import flows
    >>> params = {"bias": jnp.array([1.0, 0.0]), "scale": jnp.array([0.0, 1.0])}
    >>> z, log_det = flows.Actnorm().forward(params, jnp.array([[3.0, 0.0]]))
    >>> z.tolist(), log_det.tolist()
    ([[2.0, 0.0]], [-1.0])

    Attributes:
      data_dependent: whether b and s are initialised from data, so that z has mean 0 and std 1 in every channel, over
        batch and space. If False, b and s start at zero.
      biased_std: whether to divide by the biased std + 1e-6, as Glow does, instead of the unbiased std (at least
        1e-6).
      multiplier: m; the parameter "scale" stores s / m. OpenAI's Glow has m = 3, so s learns faster there.
    """

    keeps_shape: ClassVar[bool] = True
    takes_cond: ClassVar[bool] = False

    data_dependent: bool = True
    biased_std: bool = False
    multiplier: float = 1.0

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        del key, cond
        return {"bias": jnp.zeros(x.shape[-1]), "scale": jnp.zeros(x.shape[-1])}

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Array]:
        if self.data_dependent:
            over = tuple(range(x.ndim - 1))
            std = jnp.std(x, over) + 1e-6 if self.biased_std else jnp.maximum(jnp.std(x, over, ddof=1), 1e-6)
            params = {"bias": jnp.mean(x, over), "scale": jnp.log(std) / self.multiplier}
        return params, self.forward(params, x, cond)[0]

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        check_channels("Actnorm", x, params["bias"].shape)
        s = self.multiplier * params["scale"]
        return (x - params["bias"]) * jnp.exp(-s), per_sample(-pixels(x) * jnp.sum(s), x)

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        check_channels("Actnorm", z, params["bias"].shape)
        s = self.multiplier * params["scale"]
        return z * jnp.exp(s) + params["bias"], per_sample(pixels(z) * jnp.sum(s), z)
