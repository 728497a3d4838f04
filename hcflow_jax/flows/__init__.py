"""Normalizing flows: bijectors, and densities made of bijectors. `docs/flows.md` shows how to use them.

A bijector is a set of pure functions of (params, x, cond); `base` defines the interface. This package needs only jax,
flax and numpy.
"""

from hcflow_jax.flows.actnorm import Actnorm
from hcflow_jax.flows.base import Bijector, bijector, constant
from hcflow_jax.flows.compose import Chain, Conditioned, Repeat, chain
from hcflow_jax.flows.conditioner import Conditioner
from hcflow_jax.flows.coupling import Coupling
from hcflow_jax.flows.flow import Base, Flow, StandardNormal
from hcflow_jax.flows.injector import Injector
from hcflow_jax.flows.invert import Invert
from hcflow_jax.flows.lu_mixing import LUMixing
from hcflow_jax.flows.mixing import Mixing, OrthogonalMixing
from hcflow_jax.flows.permute import Permute
from hcflow_jax.flows.prior import FactorOut, Prior
from hcflow_jax.flows.split import ChannelSplit, CheckerSplit
from hcflow_jax.flows.squeeze import Squeeze

__all__ = [
    "Actnorm",
    "Base",
    "Bijector",
    "Chain",
    "ChannelSplit",
    "CheckerSplit",
    "Conditioned",
    "Conditioner",
    "Coupling",
    "FactorOut",
    "Flow",
    "Injector",
    "Invert",
    "LUMixing",
    "Mixing",
    "OrthogonalMixing",
    "Permute",
    "Prior",
    "Repeat",
    "Squeeze",
    "StandardNormal",
    "bijector",
    "chain",
    "constant",
]
