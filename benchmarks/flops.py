"""Model FLOPs of a traced function: 2 x multiply-adds of its convolutions and matrix products, loops unrolled."""

import math
from typing import Any

import jax


def count(function: Any, *args: Any) -> int:
    """FLOPs of one call; `args` may be shapes. Elementwise work and linear algebra are not counted."""
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            total += _dot(eqn)
        elif name == "conv_general_dilated":
            total += _convolution(eqn)
        else:
            times = eqn.params["length"] if name == "scan" else 1
            inner = [_count(sub) for value in eqn.params.values() for sub in jaxprs(value)]
            # of a conditional's branches one runs
            total += times * (max(inner, default=0) if name == "cond" else sum(inner))
    return total


def jaxprs(value: Any) -> list[Any]:
    """The inner programs in a parameter of an equation, or in a sequence of parameters."""
    if isinstance(value, tuple | list):
        return [sub for each in value for sub in jaxprs(each)]
    inner = getattr(value, "jaxpr", value)
    return [inner] if hasattr(inner, "eqns") else []


def _dot(eqn: Any) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    depth = math.prod(eqn.invars[0].aval.shape[d] for d in contracted)
    return 2 * math.prod(eqn.outvars[0].aval.shape) * depth


def _convolution(eqn: Any) -> int:
    kernel = eqn.invars[1].aval.shape
    out_channels = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // out_channels
