"""A parameter tree as one vector a learning-rate group, so that the optimizer is a few large operations.

Clipping, Adam, the EMA and the check for non-finite steps are the same elementwise work on every tensor. Done
tensor by tensor they are thousands of kernels, half of the whole training step's; done on three vectors a dozen.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hcflow_jax.training.optimizer import labels

Packed = dict[str, Float[Array, " n"]]


@dataclasses.dataclass(frozen=True)
class Packing:
    """How a tree of one structure is packed.

    Attributes:
      structure: of the tree.
      shapes: of its leaves, in order.
      groups: of its leaves, in order.
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, tree: Any) -> "Packing":
        """The packing of trees like this one, of arrays or shapes.

        Raises:
          ConfigError: where a parameter belongs to no group or several.
        """
        leaves, structure = jax.tree.flatten(tree)
        return cls(structure, tuple(leaf.shape for leaf in leaves), tuple(jax.tree.leaves(labels(tree))))

    def pack(self, tree: Any) -> Packed:
        """{group: its leaves, flattened and joined}."""
        leaves = self.structure.flatten_up_to(tree)
        return {
            group: jnp.concatenate(
                [leaf.reshape(-1) for leaf, own in zip(leaves, self.groups, strict=True) if own == group]
            )
            for group in sorted(set(self.groups))
        }

    def unpack(self, packed: Packed) -> Any:
        """The tree again."""
        at = dict.fromkeys(packed, 0)
        leaves = []
        for shape, group in zip(self.shapes, self.groups, strict=True):
            size = int(np.prod(shape))
            leaves.append(packed[group][at[group] : at[group] + size].reshape(shape))
            at[group] += size
        return jax.tree.unflatten(self.structure, leaves)
