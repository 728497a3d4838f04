"""The order of a backward pass: gradients that are computed together.

XLA chooses the order of a program's kernels. In the training step of several devices it put the gradients of nearly
all weights last, and kept what they need in memory until then: 45.8 GB instead of 23.8 for configuration A on two
H200.
"""

from typing import Any, TypeVar

import jax
from jax.custom_derivatives import SymbolicZero

T = TypeVar("T")


def together(tree: T) -> T:
    """Returns its argument. The backward pass computes the gradients of all its leaves before it uses any of them.

    Give it all that a step of the computation reads: its weights and its input. When the backward pass has left the
    step, everything that was kept for it can then be freed.

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
