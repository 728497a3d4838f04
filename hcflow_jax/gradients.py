"""The order of a backward pass: gradients that are computed together.

XLA chooses the order of a program's kernels. In the training step of several devices it put the gradients of nearly
all weights last, and kept what they need in memory until then: 45.8 GB instead of 23.8 for configuration A on two
H200.
"""

from typing import Any, TypeVar

import jax

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


@_together.defjvp
def _jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    # The transpose of a barrier is a barrier. So this one is in the backward pass, and there is none in the forward
    # pass. Integers have tangents without values (float0), which need none.
    leaves, structure = jax.tree.flatten(tangents[0])
    known = [i for i, leaf in enumerate(leaves) if leaf.dtype != jax.dtypes.float0]
    for i, leaf in zip(known, jax.lax.optimization_barrier([leaves[i] for i in known]), strict=True):
        leaves[i] = leaf
    return primals[0], jax.tree.unflatten(structure, leaves)
