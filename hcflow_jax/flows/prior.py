"""Gaussian priors with the mean and scale from a network: for latents that leave early, and for the last latent.

The base of a flow is the standard normal. So a prior N(mean, exp(logs)^2) is a bijector: eps = (z - mean) exp(-logs).
"""

from typing import Any, ClassVar

import jax.numpy as jnp

from hcflow_jax.errors import InputError
from hcflow_jax.flows import conditioner
from hcflow_jax.flows.affine import affine_forward, affine_inverse
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Bijector, Cond, LogDet, Params, bijector, check_same


@bijector
class FactorOut(Bijector):
    """The second half of the channels leaves; its prior depends on the first half (Real NVP, Section 3.6; Glow).

    forward: x = (on, out) by channel, (logs, mean) = net(on, cond), eps = (out - mean) exp(-logs), z = (eps, on);
    log_det = -sum(logs). In a chain the next bijectors get only `on`. The chain's z is a tuple: the latents that
    left, in order, and then the last bijector's output.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> from hcflow_jax.nets.coupling_nets import ConvConditioner
    >>> flow = flows.chain(squeeze=flows.Squeeze(), out=flows.FactorOut(ConvConditioner(4)), norm=flows.Actnorm())
    >>> params, (eps, z) = flow.init(jax.random.key(0), jax.random.normal(jax.random.key(1), (2, 4, 4, 1)))
    >>> eps.shape, z.shape
    ((2, 2, 2, 2), (2, 2, 2, 2))

    Attributes:
      net: a `Conditioner`, net(on, cond) -> (logs, mean), each of the shape of `on`. As in `Coupling`, the scale
        comes first.
    """

    leaving: ClassVar[int] = 1

    net: Any  # a `Conditioner`; `conditioner.create` refuses others

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        return conditioner.create("FactorOut", self.net, key, _halves(x)[0], cond)

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, tuple[Array, Array]]:
        params = conditioner.calibrate(self.net, params, _halves(x)[0], cond)
        return params, self.forward(params, x, cond)[0]

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[tuple[Array, Array], LogDet]:
        on, out = _halves(x)
        eps, log_det = affine_forward(out, *_prior("FactorOut", self.net, params, on, cond))
        return (eps, on), log_det

    def inverse(self, params: Params, z: tuple[Array, Array], cond: Cond = None) -> tuple[Array, LogDet]:
        eps, on = z
        check_same("FactorOut", on, eps, "the latent that left")
        out, log_det = affine_inverse(eps, *_prior("FactorOut", self.net, params, on, cond))
        return jnp.concatenate([on, out], -1), log_det


@bijector
class Prior(Bijector):
    """The learned prior of the last latent: eps = (x - mean) exp(-logs), log_det = -sum(logs).

    The network gets zeros of x's shape instead of x, and cond.

    >>> import jax
    >>> from hcflow_jax import flows
    >>> from hcflow_jax.nets.coupling_nets import ConvConditioner
    >>> x = jax.random.normal(jax.random.key(1), (2, 3))
    >>> params, z = flows.Prior(ConvConditioner(4)).init(jax.random.key(0), x)
    >>> z.shape
    (2, 3)

    Attributes:
      net: a `Conditioner`, net(zeros, cond) -> (logs, mean), each of x's shape.
    """

    keeps_shape: ClassVar[bool] = True

    net: Any  # a `Conditioner`; `conditioner.create` refuses others

    def create(self, key: Array, x: Array, cond: Cond = None) -> Params:
        return conditioner.create("Prior", self.net, key, jnp.zeros_like(x), cond)

    def calibrate(self, params: Params, x: Array, cond: Cond = None) -> tuple[Params, Array]:
        params = conditioner.calibrate(self.net, params, jnp.zeros_like(x), cond)
        return params, self.forward(params, x, cond)[0]

    def forward(self, params: Params, x: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return affine_forward(x, *_prior("Prior", self.net, params, jnp.zeros_like(x), cond))

    def inverse(self, params: Params, z: Array, cond: Cond = None) -> tuple[Array, LogDet]:
        return affine_inverse(z, *_prior("Prior", self.net, params, jnp.zeros_like(z), cond))


def _halves(x: Array) -> tuple[Array, Array]:
    if x.shape[-1] % 2:
        raise InputError(f"FactorOut: x must have an even number of channels (last), but has shape {tuple(x.shape)}")
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


def _prior(name: str, net: Any, params: Params, seen: Array, cond: Cond) -> tuple[Array, Array]:
    out = conditioner.run(name, net, params, seen, cond)
    logs, mean = conditioner.pair(name, out, "(logs, mean)", seen.shape)
    for each in (logs, mean):
        check_same(name, seen, each, "the network's output")
    return logs, mean
