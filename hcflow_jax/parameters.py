"""How fresh parameters are drawn: each leaf says its distribution, and a whole model is drawn at once.

Compiling one random draw a tensor takes minutes on a CPU for a model of hundreds of tensors. So initialisers
return a `Drawn` box: the value, and how it was drawn. `draw_all` needs only the boxes' shapes, which
`jax.eval_shape` gives without compiling, and makes every value from one draw. `draw` does that for a function that
makes parameters, and takes what is not boxed from the function itself.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from flax import struct
from flax.core import meta
from jax import Array


@struct.dataclass
class Drawn(meta.AxisMetadata):
    """A random leaf: scale * N(0, 1), or scale * a random orthogonal matrix.

    Attributes:
      value: the array (or its shape).
      scale: what the draw was multiplied by.
      orthogonal: whether it is an orthogonal matrix (or a stack of them).
    """

    value: Any
    scale: float = struct.field(pytree_node=False)
    orthogonal: bool = struct.field(pytree_node=False, default=False)

    def unbox(self) -> Any:
        return self.value

    def replace_boxed(self, val: Any) -> "Drawn":
        return Drawn(val, self.scale, self.orthogonal)

    def add_axis(self, index: int, params: dict[Any, Any]) -> "Drawn":
        return self

    def remove_axis(self, index: int, params: dict[Any, Any]) -> "Drawn":
        return self


def normal(key: Array, shape: tuple[int, ...], scale: float) -> Drawn:
    """scale * N(0, 1) of a shape, float32."""
    return Drawn(scale * jax.random.normal(key, shape, jnp.float32), scale)


def orthogonal(key: Array, size: int, scale: float) -> Drawn:
    """scale * a uniformly random orthogonal matrix, (size, size), float32."""
    return Drawn(scale * jax.random.orthogonal(key, size, dtype=jnp.float32), scale, orthogonal=True)


def unbox(tree: Any) -> Any:
    """The values alone."""
    return meta.unbox(tree)


def is_traced(tree: Any) -> bool:
    """Whether jax is tracing: some leaf is a tracer, or new arrays are (inside `jax.jit`)."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in (*jax.tree.leaves(tree), jnp.zeros(())))


def draw(key: Array, create: Callable[[Array], Any], dtype: Any = np.float32) -> Any:
    """The parameters that `create` makes, but all boxed leaves from one draw: little is left to compile.

    Args:
      key: typed key.
      create: key -> a tree of `Drawn` boxes and plain leaves.
      dtype: the dtype of the boxed leaves, float32 or float64.

    Returns:
      The tree without boxes. Its plain leaves are as `create` gives them.
    """
    for_boxed, for_plain = jax.random.split(key)
    boxed = jax.eval_shape(create, key)
    leaves, structure = jax.tree.flatten(boxed, is_leaf=_is_box)
    drawn = jax.tree.leaves(draw_all(for_boxed, boxed, dtype)) if any(map(_is_box, leaves)) else leaves
    if all(map(_is_box, leaves)):
        return jax.tree.unflatten(structure, drawn)

    def others(key: Array) -> list[Any]:
        return [leaf for leaf in jax.tree.leaves(create(key), is_leaf=_is_box) if not _is_box(leaf)]

    plain = iter(jax.jit(others)(for_plain))  # what is computed for boxes alone is not compiled
    return jax.tree.unflatten(
        structure, [made if _is_box(leaf) else next(plain) for leaf, made in zip(leaves, drawn, strict=True)]
    )


def draw_all(key: Array, boxed: Any, dtype: Any = np.float32) -> Any:
    """Every leaf from one draw: random where boxed, zero elsewhere.

    Args:
      key: typed key.
      boxed: tree of `Drawn` boxes and plain leaves; only shapes are read, so `jax.eval_shape` may have made it.
      dtype: the dtype of the result, float32 or float64 (which jax must have enabled).

    Returns:
      The same tree without boxes, numpy arrays.
    """
    leaves, structure = jax.tree.flatten(boxed, is_leaf=_is_box)
    sizes = [leaf.value.size if isinstance(leaf, Drawn) else 0 for leaf in leaves]
    flat = np.asarray(jax.random.normal(key, (sum(sizes),), dtype))
    ends = np.cumsum(sizes, dtype=int)
    return jax.tree.unflatten(
        structure, [_leaf(leaf, flat[end - n : end]) for leaf, n, end in zip(leaves, sizes, ends, strict=True)]
    )


def _is_box(leaf: Any) -> bool:
    return isinstance(leaf, Drawn)


def _leaf(leaf: Any, draw: np.ndarray) -> np.ndarray:
    if not isinstance(leaf, Drawn):
        return np.zeros(leaf.shape, draw.dtype)
    values = draw.reshape(leaf.value.shape)
    if leaf.orthogonal:
        q, r = np.linalg.qr(values)
        values = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return np.asarray(leaf.scale * values, draw.dtype)


def path_name(path: tuple[Any, ...]) -> str:
    """The name of a leaf, '/'-joined, such as "decoder/8/stage_0/style_in/w"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def first_difference(one: Any, other: Any) -> tuple[str, Any, Any] | None:
    """The first leaf, by name, that two trees do not have in the same shape.

    Args:
      one, other: trees of arrays, or of their shapes.

    Returns:
      Its name, such as "style/layer_0/b", and its shape in each, None where it is missing; None if there is no such.
    """
    left, right = _shapes(one), _shapes(other)
    for name in sorted(left.keys() | right.keys()):
        if left.get(name) != right.get(name):
            return name, left.get(name), right.get(name)
    return None


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_name(path): leaf.shape for path, leaf in leaves}
