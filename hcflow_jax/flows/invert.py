"""The inverse of a bijector as a bijector."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from hcflow_jax import parameters
from hcflow_jax.errors import InputError
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Bijector, Cond, Latent, LogDet, Params, bijector, constant
from hcflow_jax.flows.compose import Chain


@bijector
class Invert(Bijector):
    """Exchanges the two directions: forward is `inner.inverse`, and inverse is `inner.forward`.

    The parameters are those of `inner`. None is initialised from data. Use it, for example, when a flow is fast in
    evaluating densities but must be fast in sampling.

    >>> import jax.numpy as jnp
    >>> from hcflow_jax import flows
    >>> flows.Invert(flows.Squeeze()).forward({}, jnp.zeros((2, 4, 4, 4)))[0].shape
    (2, 8, 8, 1)

    Attributes:
      inner: a bijector that has an inverse, and from which no latents leave early.
    """

    leaving: ClassVar[int] = 0

    inner: Bijector = constant()

    @property
    def keeps_shape(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.keeps_shape

    @property
    def takes_cond(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.takes_cond

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        if self.inner.leaving:
            raise InputError(f"Invert: it cannot invert a {type(self.inner).__name__} that factors out latents")
        return _from_latent(self.inner, key, x, cond)[0]

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return self.inner.inverse(params, x, cond)

    def inverse(self, params: Params, z: Latent, cond: Cond = None) -> tuple[Array, LogDet]:
        return self.inner.forward(params, z, cond)

    def prepare(self, params: Params) -> Params:
        return self.inner.prepare(params)


def _from_latent(inner: Bijector, key: Array, z: Array, cond: Cond) -> tuple[Params, Array]:
    """Parameters of a bijector whose latent, not whose x, has the shape of `z`.

    Returns:
      The parameters, and an array of x's shape; its values do not matter.
    """
    if isinstance(inner, Chain):
        made = {}
        keys = jax.random.split(key, len(inner.names))
        for name, each, own in list(zip(inner.names, inner.bijectors, keys, strict=True))[::-1]:
            made[name], z = _from_latent(each, own, z, cond if each.takes_cond else None)
        return {name: made[name] for name in inner.names}, z
    made = inner.create(key, z, cond)
    if inner.keeps_shape:
        return made, z
    x, _ = jax.eval_shape(inner.inverse, parameters.unbox(made), z, cond)
    return made, jnp.zeros(x.shape, x.dtype)
