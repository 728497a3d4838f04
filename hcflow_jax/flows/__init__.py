"""Bijectors: pure functions of (params, x, cond). `base` says what one is; each file holds one idea."""

from hcflow_jax.flows.actnorm import Actnorm
from hcflow_jax.flows.base import Bijector
from hcflow_jax.flows.compose import Chain, Conditioned, Repeat, chain
from hcflow_jax.flows.coupling import Coupling
from hcflow_jax.flows.injector import Injector
from hcflow_jax.flows.mixing import Mixing, OrthogonalMixing
from hcflow_jax.flows.split import ChannelSplit, CheckerSplit

__all__ = [
    "Actnorm",
    "Bijector",
    "Chain",
    "ChannelSplit",
    "CheckerSplit",
    "Conditioned",
    "Coupling",
    "Injector",
    "Mixing",
    "OrthogonalMixing",
    "Repeat",
    "chain",
]
