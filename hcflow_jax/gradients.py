"""The order of a backward pass: gradients that are computed together, and gradients that are computed at once.

XLA chooses the order of a program's kernels. In the training step of several devices it puts the gradients of nearly
all weights last, and keeps what they need in memory until then. For configuration A on eight H200 this takes 45.8 GB.
With both functions the step needs 23.9 GB.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

T = TypeVar("T")
Aux = TypeVar("Aux")


def together(tree: T) -> T:
    """Returns its argument. The backward pass computes the gradients of all its leaves before it uses any of them.

    Give it all that a layer reads: its weights and its input. When the backward pass has left the layer, everything
    that was kept for it can then be freed.

    Args:
      tree: any pytree of arrays.
    """
    made: Any = _together(tree)
    return made


@jax.custom_jvp
def _together(tree: Any) -> Any:
    return tree


def _jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    # The transpose of a barrier is a barrier. So this one is in the backward pass, and there is none in the forward
    # pass. Leaves that are not differentiated stay out of it: JAX 0.11.2 cannot transpose a barrier that has them.
    leaves, structure = jax.tree.flatten(tangents[0])
    varied = [i for i, leaf in enumerate(leaves) if not isinstance(leaf, SymbolicZero)]
    for i, leaf in zip(varied, jax.lax.optimization_barrier([leaves[i] for i in varied]), strict=True):
        leaves[i] = leaf
    return primals[0], jax.tree.unflatten(structure, leaves)


_together.defjvp(_jvp, symbolic_zeros=True)


def at_once(function: Callable[[Any], tuple[jax.Array, Aux]], arguments: Any, after: T) -> tuple[jax.Array, Aux, T]:
    """Computes a scalar. If it is differentiated, its gradient is computed at once, not in the backward pass.

    So what the gradient needs can be freed at once. Only the gradient is kept. The backward pass multiplies it
    by the cotangent of the scalar.

    Args:
      function: arguments -> (a scalar, a tree of arrays without gradients). It must not close over traced arrays.
      arguments: any pytree of arrays.
      after: any pytree of arrays, which the function does not change. What uses the one that is returned is computed
        after the gradient.

    Returns:
      The results of the function, and `after`. There are only reverse-mode derivatives.
    """
    made: Any = _at_once(function, arguments, after)
    value, aux, after = made
    return value, jax.lax.stop_gradient(aux), after


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _at_once(function: Callable[[Any], Any], arguments: Any, after: Any) -> Any:
    return *function(arguments), after


def _at_once_forward(function: Callable[[Any], Any], arguments: Any, after: Any) -> tuple[Any, Any]:
    leaves, structure = jax.tree.flatten(arguments)

    def of(varied: list[Any]) -> Any:
        rest = iter(varied)
        return function(structure.unflatten([next(rest) if leaf.perturbed else leaf.value for leaf in leaves]))

    value, pull, aux = jax.vjp(of, [leaf.value for leaf in leaves if leaf.perturbed], has_aux=True)
    after = jax.tree.map(lambda leaf: leaf.value, after)
    after, (gradients,) = jax.lax.optimization_barrier((after, pull(jnp.ones_like(value))))
    rest = iter(gradients)
    # None stands for the gradient of a leaf that is not differentiated.
    return (value, aux, after), structure.unflatten([next(rest) if leaf.perturbed else None for leaf in leaves])


def _at_once_backward(function: Callable[[Any], Any], gradients: Any, cotangents: Any) -> tuple[Any, Any]:
    del function
    of_value, _, of_after = cotangents
    if isinstance(of_value, SymbolicZero):
        gradients = None
    else:
        gradients = jax.tree.map(lambda gradient: of_value.astype(gradient.dtype) * gradient, gradients)
    return gradients, jax.tree.map(lambda leaf: None if isinstance(leaf, SymbolicZero) else leaf, of_after)


_at_once.defvjp(_at_once_forward, _at_once_backward, symbolic_zeros=True)
