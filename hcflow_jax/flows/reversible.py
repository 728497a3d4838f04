"""Runs steps of the same structure, with three ways to compute the gradient: store, recompute or reversible.

The input of a bijector can be computed from its output. So the "reversible" backward pass keeps only the output of
the last step. It computes each step's input from its output, and the vector-Jacobian product of the step at that
input. Its memory does not grow with the number of steps. The costs are rounding errors in the inputs, and one more
run of each step's network than with "store" (the same as with "recompute").
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
    """Runs the steps one after another.

    Args:
      each: stacked parameters and stacked steps. Prepare the parameters first, so that the steps do not. The
        floating-point leaves of the parameters have gradients; the constants of the steps have none.
      x: (batch, ..., channels).
      cond: the conditioning, the same for every step; any pytree, or None.
      inverse: whether to run the inverses of the steps, last step first.
      unroll: whether to run straight-line code instead of a loop.
      backward: what is kept for the backward pass, one of `BACKWARD`. "reversible" has only reverse-mode
        derivatives: jax refuses `jax.jvp` through it.

    Returns:
      The output of the last step that runs, and the sum of the log-dets, (batch,), nats.

    Raises:
      InputError: `backward` is not one of `BACKWARD`.
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
        # A loop of one step would be slow on CPUs: XLA chooses its fast convolution kernels only outside loops, and
        # it removes such a loop after that choice.
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
    of_out, of_log_det = cotangents  # the log-det is a sum, so the log-det of every step has the same cotangent

    def body(carry: tuple[Array, Array, Leaves], each: Each) -> tuple[tuple[Array, Array, Leaves], Leaves]:
        (out, of_out, of_cond), (params, step) = carry, each
        if inverse:
            x, pulled = rebuild(step.inverse, step.forward, params, out, cond, (of_out, of_log_det))
        else:
            x, pulled = step.pull_back(params, out, cond, (of_out, of_log_det))
        of_params, of_x, more = pulled
        return (x, of_x, [a + b for a, b in zip(of_cond, _floating(more), strict=True)]), _floating(of_params)

    # The type of a loop's carry must not change: the initial zero must vary over the mesh, as the sum does.
    nothing = [varying_like(jnp.zeros_like(leaf), leaf) for leaf in _floating(cond)]
    start = (out, of_out, nothing)
    (_, of_x, of_cond), of_params = jax.lax.scan(body, start, each, reverse=not inverse, unroll=unroll)
    return (_with_floating(each[0], of_params), None), of_x, _with_floating(cond, of_cond)


_reversible.defvjp(_run_forward, _run_backward)


def _is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _floating(tree: Any) -> Leaves:
    """The leaves that have gradients; in a tree of gradients, those that are not of dtype float0."""
    leaves = jax.tree.leaves(tree)
    return [leaf for leaf in leaves if getattr(leaf, "dtype", None) != jax.dtypes.float0 and _is_floating(leaf)]


def _with_floating(tree: Any, gradients: Leaves) -> Any:
    """The gradients as a tree like `tree`. Leaves without a gradient become None, which jax takes as zero."""
    rest = iter(gradients)
    return jax.tree.map(lambda leaf: next(rest) if _is_floating(leaf) else None, tree)
