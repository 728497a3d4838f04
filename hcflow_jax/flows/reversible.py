"""Like steps one after another, and their gradient: with the activations stored, recomputed, or rebuilt.

A bijector's output holds its input. So a backward pass may keep the last step's output alone, rebuild each step's
input from its output, and take that step's vector-Jacobian product there: memory does not grow with the number of
steps, whose inputs an ordinary backward pass keeps. What it costs is the rounding of a rebuilt input, and a run of
each step's network more than storing does (as recomputing costs).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from hcflow_jax.errors import InputError
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import Cond, LogDet, Params, rebuild, varying_like

STORE, RECOMPUTE, REVERSIBLE = BACKWARD = ("store", "recompute", "reversible")

Each = tuple[Params, Any]  # parameters and steps, every leaf with a leading axis, in `forward` order
Leaves = list[Array]


def run(
    each: Each, x: Array, cond: Cond, *, inverse: bool = False, unroll: bool = False, backward: str = STORE
) -> tuple[Array, LogDet]:
    """Steps one after another, as one loop.

    Args:
      each: stacked parameters (prepared, so that no step does it again) and stacked steps. Floating-point leaves
        of the parameters have gradients; the steps' constants have none.
      x: (batch, ..., channels).
      cond: the same for every step; any pytree, or None.
      inverse: run them backwards, through their `inverse`.
      unroll: straight-line code instead of a loop.
      backward: what the backward pass has of the steps' activations; one of `BACKWARD`. "reversible" defines
        reverse-mode derivatives only: `jax.jvp` through it is refused by jax.

    Returns:
      The last step's output, and the sum of the log-dets, (batch,), nats.

    Raises:
      InputError: for another `backward`.
    """
    if backward not in BACKWARD:
        raise InputError(f"Repeat: backward must be one of {', '.join(BACKWARD)}, not {backward!r}")
    if backward == REVERSIBLE:
        return _reversible(inverse, unroll, each, x, cond)
    return _loop(inverse, unroll, each, x, cond, recompute=backward == RECOMPUTE)


def _loop(
    inverse: bool, unroll: bool, each: Each, x: Array, cond: Cond, recompute: bool = False
) -> tuple[Array, LogDet]:
    def body(x: Array, each: Each) -> tuple[Array, LogDet]:
        params, step = each
        return (step.inverse if inverse else step.forward)(params, x, cond)

    body = jax.checkpoint(body) if recompute else body
    if len(jax.tree.leaves(each)[0]) == 1:
        # A loop of one trip XLA dissolves too late: on CPUs it rewrites convolutions for its quick kernels before
        # that, and not inside loops.
        return body(x, jax.tree.map(lambda leaf: leaf[0], each))
    x, log_dets = jax.lax.scan(body, x, each, reverse=inverse, unroll=unroll)
    return x, jnp.sum(log_dets, 0)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _reversible(inverse: bool, unroll: bool, each: Each, x: Array, cond: Cond) -> tuple[Array, LogDet]:
    return _loop(inverse, unroll, each, x, cond)


def _run_forward(inverse: bool, unroll: bool, each: Each, x: Array, cond: Cond) -> tuple[Any, Any]:
    out = _loop(inverse, unroll, each, x, cond)
    return out, (each, out[0], cond)


def _run_backward(inverse: bool, unroll: bool, residuals: Any, cotangents: Any) -> tuple[Any, Array, Cond]:
    each, out, cond = residuals
    of_out, of_log_det = cotangents  # the log-det is a sum, so every step's has the same cotangent

    def body(carry: tuple[Array, Array, Leaves], each: Each) -> tuple[tuple[Array, Array, Leaves], Leaves]:
        (out, of_out, of_cond), (params, step) = carry, each
        if inverse:
            x, pulled = rebuild(step.inverse, step.forward, params, out, cond, (of_out, of_log_det))
        else:
            x, pulled = step.pull_back(params, out, cond, (of_out, of_log_det))
        of_params, of_x, more = pulled
        return (x, of_x, [a + b for a, b in zip(of_cond, _floating(more), strict=True)]), _floating(of_params)

    # The loop's carry has one type: the zero that a sum starts from must vary over a mesh as the sum does.
    nothing = [varying_like(jnp.zeros_like(leaf), leaf) for leaf in _floating(cond)]
    start = (out, of_out, nothing)
    (_, of_x, of_cond), of_params = jax.lax.scan(body, start, each, reverse=not inverse, unroll=unroll)
    return (_with_floating(each[0], of_params), None), of_x, _with_floating(cond, of_cond)


_reversible.defvjp(_run_forward, _run_backward)


def _is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _floating(tree: Any) -> Leaves:
    """The leaves that have gradients; of a tree of gradients those that are some (not of type float0)."""
    leaves = jax.tree.leaves(tree)
    return [leaf for leaf in leaves if getattr(leaf, "dtype", None) != jax.dtypes.float0 and _is_floating(leaf)]


def _with_floating(tree: Any, gradients: Leaves) -> Any:
    """Gradients in the shape of `tree`: None, jax's zero, at the leaves that have none."""
    rest = iter(gradients)
    return jax.tree.map(lambda leaf: next(rest) if _is_floating(leaf) else None, tree)
