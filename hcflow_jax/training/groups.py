"""The rate groups of a model's parameters, and the packing of a parameter tree into a few vectors per group.

A model defines its groups by regular expressions for the paths of its parameters (`ImageModel.rate_groups`). Each
parameter must match exactly one, so a module that is added or renamed cannot get a wrong learning rate unnoticed.

Clipping, Adam, the EMA and the check for non-finite steps are the same elementwise operations for every tensor. On a
GPU, one tensor at a time, this takes thousands of kernels, and half the time of a training step. So the step works on
packed trees: {group: {chunk: vector}}. A chunk has tensors of only one part of the model.

On a TPU a reshape to a vector moves every number to another place of the tiled memory. There the trees are only
sorted by group: {group: {path: tensor}}. For Muon, the weights of layers are stacked as matrices on all backends.
"""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hcflow_jax.config import ConfigError
from hcflow_jax.parameters import path_name
from hcflow_jax.training import matrices

RateGroups = tuple[tuple[str, str], ...]
Packed = dict[str, dict[str, Float[Array, "..."]]]

VECTORS, TENSORS = UPDATES = ("vectors", "tensors")
CHUNK = 2_000_000  # the approximate number of elements of a vector; further elements go into the next one


def names(rate_groups: RateGroups) -> tuple[str, ...]:
    """The names of the groups, in the order of the model."""
    return tuple(dict.fromkeys(group for group, _ in rate_groups))


def labels(params: Any, rate_groups: RateGroups) -> Any:
    """The group of every parameter.

    Args:
      params: a tree of arrays or shapes.
      rate_groups: rows of (group, regular expression). The path of each parameter must match exactly one row.

    Returns:
      A tree like `params`, whose leaves are the names of groups.

    Raises:
      ConfigError: a path matches no row, or several; the message names it.
    """

    def label(path: tuple[Any, ...], _: Any) -> str:
        name = path_name(path)
        rows = [(group, pattern) for group, pattern in rate_groups if re.search(pattern, name)]
        if not rows:
            raise ConfigError(
                f"parameter {name!r} belongs to no rate group: add its module to the model's rate_groups"
            )
        if len(rows) > 1:
            matched = ", ".join(f"{pattern!r} ({group})" for group, pattern in rows)
            raise ConfigError(
                f"parameter {name!r} matches several patterns of the model's rate_groups, {matched}: change "
                "them so that only one matches"
            )
        return rows[0][0]

    return jax.tree_util.tree_map_with_path(label, params)


def count_by_group(params: Any, rate_groups: RateGroups) -> dict[str, int]:
    """The number of parameters in every group."""
    counts = dict.fromkeys(names(rate_groups), 0)
    for group, leaf in zip(jax.tree.leaves(labels(params, rate_groups)), jax.tree.leaves(params), strict=True):
        counts[group] += leaf.size
    return counts


@dataclasses.dataclass(frozen=True)
class Packing:
    """Sorts the leaves of trees of one structure by rate group. With "vectors", it also joins them to vectors.

    Attributes:
      groups: the names of the rate groups. A group without parameters has no chunk.
      structure: the structure of the tree.
      shapes: the shapes of the leaves, in order.
      places: (group, chunk) of the leaves, in order. With "vectors", the name of a chunk is the first two names of a
        path and a number, such as "flows/128/0". With "tensors", every leaf is a chunk and has its path as name. The
        name of a stack of matrices is their padded shape and a number, such as "matrices/32x256/0".
      update: one of `UPDATES`.
      stacked: whether the leaves are in stacks of matrices (`matrices`), in order.
    """

    groups: tuple[str, ...]
    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    places: tuple[tuple[str, str], ...]
    update: str
    stacked: tuple[bool, ...]

    @classmethod
    def of(
        cls,
        tree: Any,
        rate_groups: RateGroups,
        chunk: int | None = None,
        *,
        update: str = VECTORS,
        stack: bool = False,
    ) -> "Packing":
        """Makes the packing for trees like the given one.

        Args:
          tree: a tree of arrays or shapes.
          rate_groups: the rate groups of the model.
          chunk: the approximate number of elements of a vector or a stack; None: `CHUNK`.
          update: one of `UPDATES`.
          stack: whether the weights of layers are stacked as matrices.

        Raises:
          ConfigError: a parameter belongs to no group or to several.
        """
        leaves, structure = jax.tree.flatten(tree)
        paths = [path_name(path).split("/") for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
        shapes = tuple(tuple(leaf.shape) for leaf in leaves)
        stacked = tuple(stack and matrices.is_matrix(*each) for each in zip(paths, shapes, strict=True))
        places, filled = [], {}
        of_leaves = zip(shapes, jax.tree.leaves(labels(tree, rate_groups)), paths, stacked, strict=True)
        for shape, group, path, is_stacked in of_leaves:
            size = int(np.prod(shape))
            if is_stacked:
                rows, columns = matrices.padded(shape)
                part, size = f"matrices/{rows}x{columns}", matrices.sides(shape)[0] * rows * columns
            elif update == TENSORS:
                places.append((group, "/".join(path)))
                continue
            else:
                part = "/".join(path[:2])
            places.append((group, f"{part}/{filled.get((group, part), 0) // (chunk or CHUNK)}"))
            filled[group, part] = filled.get((group, part), 0) + size
        return cls(names(rate_groups), structure, shapes, tuple(places), update, stacked)

    @property
    def columns(self) -> dict[str, dict[str, list[int]]]:
        """The columns of the matrices in each stack, without padding: {group: {chunk: columns}}."""
        found: dict[str, dict[str, list[int]]] = {group: {} for group in self.groups}
        for shape, (group, part), is_stacked in zip(self.shapes, self.places, self.stacked, strict=True):
            if is_stacked:
                number, _, columns = matrices.sides(shape)
                found[group].setdefault(part, []).extend([columns] * number)
        return found

    def pack(self, tree: Any) -> Packed:
        """Packs a tree: {group: {chunk: vector, stack of matrices, or leaf}}.

        If the leaves of a stack have shape (), as the second moments of Muon have, the chunk is the first of them.
        """
        held: dict[str, dict[str, list[Array]]] = {group: {} for group in self.groups}
        for leaf, (group, part), is_stacked in zip(
            self.structure.flatten_up_to(tree), self.places, self.stacked, strict=True
        ):
            if is_stacked and leaf.ndim:
                leaf = matrices.to_matrices(leaf)
            elif self.update == VECTORS and not is_stacked:
                leaf = leaf.reshape(-1)
            held[group].setdefault(part, []).append(leaf)
        return {group: {name: _joined(own) for name, own in parts.items()} for group, parts in held.items()}

    def unpack(self, packed: Packed) -> Any:
        """The inverse of `pack`."""
        at = dict.fromkeys(self.places, 0)
        leaves = []
        for shape, place, is_stacked in zip(self.shapes, self.places, self.stacked, strict=True):
            held, start = packed[place[0]][place[1]], at[place]
            if is_stacked and held.ndim:
                at[place] += matrices.sides(shape)[0]
                leaves.append(matrices.from_matrices(held[start : at[place]], shape))
            elif self.update == VECTORS and not is_stacked:
                at[place] += int(np.prod(shape))
                leaves.append(held[start : at[place]].reshape(shape))
            else:
                leaves.append(held)
        return jax.tree.unflatten(self.structure, leaves)


def _joined(own: list[Array]) -> Array:
    return jnp.concatenate(own) if len(own) > 1 and own[0].ndim else own[0]
