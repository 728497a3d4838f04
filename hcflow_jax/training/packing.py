"""A parameter tree as some twenty vectors, so that the optimizer is a few large operations.

Clipping, Adam, the EMA and the check for non-finite steps are the same elementwise work on every tensor. Done
tensor by tensor they are thousands of kernels, half of the whole training step's. A vector holds what belongs to one
learning-rate group and one part of the model, in chunks: what a tensor is cut from should not be the whole model.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hcflow_jax.training.optimizer import labels, path_name

Packed = dict[str, dict[str, Float[Array, " n"]]]

CHUNK = 2_000_000  # elements after which a part goes on in the next vector


@dataclasses.dataclass(frozen=True)
class Packing:
    """How a tree of one structure is packed.

    Attributes:
      structure: of the tree.
      shapes: of its leaves, in order.
      places: (group, chunk) of its leaves, in order; a chunk is the first two names of a path and a number, e.g.
        "flows/128/0".
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    places: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, tree: Any) -> "Packing":
        """The packing of trees like this one, of arrays or shapes.

        Raises:
          ConfigError: where a parameter belongs to no group or several.
        """
        leaves, structure = jax.tree.flatten(tree)
        paths = [path_name(path).split("/") for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
        groups = jax.tree.leaves(labels(tree))
        places, filled = [], {}
        for leaf, group, path in zip(leaves, groups, paths, strict=True):
            part = "/".join(path[:2])
            places.append((group, f"{part}/{filled.get((group, part), 0) // CHUNK}"))
            filled[group, part] = filled.get((group, part), 0) + int(np.prod(leaf.shape))
        return cls(structure, tuple(leaf.shape for leaf in leaves), tuple(places))

    def pack(self, tree: Any) -> Packed:
        """{group: {chunk: its leaves, flattened and joined}}."""
        held: dict[str, dict[str, list[Array]]] = {}
        for leaf, (group, part) in zip(self.structure.flatten_up_to(tree), self.places, strict=True):
            held.setdefault(group, {}).setdefault(part, []).append(leaf.reshape(-1))
        return {group: {name: jnp.concatenate(own) for name, own in parts.items()} for group, parts in held.items()}

    def unpack(self, packed: Packed) -> Any:
        """The tree again."""
        at = dict.fromkeys(self.places, 0)
        leaves = []
        for shape, place in zip(self.shapes, self.places, strict=True):
            size, start = int(np.prod(shape)), at[place]
            leaves.append(packed[place[0]][place[1]][start : start + size].reshape(shape))
            at[place] += size
        return jax.tree.unflatten(self.structure, leaves)
