"""How fresh parameters are drawn: each leaf has its distribution, and one draw gives all values of a model.

With one random draw per tensor, a model of hundreds of tensors takes minutes to compile on a CPU. So initialisers
return a box, `Drawn`, with a value and its distribution. `draw_all` needs only the shapes in the boxes, which
`jax.eval_shape` gives without compiling, and makes all values from one draw. `draw` does the same for a function that
makes parameters; it computes the values that are not in boxes with the function itself.
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
      scale: the factor of the draw.
      orthogonal: whether it is an orthogonal matrix (or a stack of orthogonal matrices).
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
    """scale * N(0, 1) of the given shape, float32."""
    return Drawn(scale * jax.random.normal(key, shape, jnp.float32), scale)


def orthogonal(key: Array, size: int, scale: float) -> Drawn:
    """scale * a uniformly random orthogonal matrix, (size, size), float32."""
    return Drawn(scale * jax.random.orthogonal(key, size, dtype=jnp.float32), scale, orthogonal=True)


def unbox(tree: Any) -> Any:
    """The tree with its boxes replaced by their values."""
    return meta.unbox(tree)


def is_traced(tree: Any) -> bool:
    """Whether jax is tracing: a leaf is a tracer, or a new array is one (inside `jax.jit`)."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in (*jax.tree.leaves(tree), jnp.zeros(())))


def draw(key: Array, create: Callable[[Array], Any], dtype: Any = np.float32) -> Any:
    """The parameters that `create` makes, with the values of all boxes from one draw, so that little is compiled.

    Args:
      key: a typed key.
      create: key -> a tree of `Drawn` boxes and plain leaves.
      dtype: the dtype of the values in boxes, float32 or float64.

    Returns:
      The tree without boxes. Plain leaves have the values that `create` gives.
    """
    for_boxed, for_plain = jax.random.split(key)
    boxed = jax.eval_shape(create, key)
    leaves, structure = jax.tree.flatten(boxed, is_leaf=_is_box)
    drawn = jax.tree.leaves(draw_all(for_boxed, boxed, dtype)) if any(map(_is_box, leaves)) else leaves
    if all(map(_is_box, leaves)):
        return jax.tree.unflatten(structure, drawn)

    def others(key: Array) -> list[Any]:
        return [leaf for leaf in jax.tree.leaves(create(key), is_leaf=_is_box) if not _is_box(leaf)]

    plain = iter(jax.jit(others)(for_plain))  # the values of boxes are not used here, so XLA removes them
    return jax.tree.unflatten(
        structure, [made if _is_box(leaf) else next(plain) for leaf, made in zip(leaves, drawn, strict=True)]
    )


def draw_all(key: Array, boxed: Any, dtype: Any = np.float32) -> Any:
    """Makes all leaves of a tree from one draw: random values for boxes, zeros for plain leaves.

    Args:
      key: a typed key.
      boxed: a tree of `Drawn` boxes and plain leaves. Only shapes are read, so it may come from `jax.eval_shape`.
      dtype: the dtype of the result, float32 or float64 (which jax must have enabled).

    Returns:
      The tree without boxes; its leaves are numpy arrays.
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
    """The name of a leaf: its path joined by "/", such as "decoder/8/stage_0/style_in/w"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def first_difference(one: Any, other: Any) -> tuple[str, Any, Any] | None:
    """The first leaf, in the order of names, whose shapes in two trees differ.

    Args:
      one, other: trees of arrays, or of their shapes.

    Returns:
      Its name, such as "style/layer_0/b", and its shape in each tree (None if it is missing there); or None if the
      trees do not differ.
    """
    left, right = _shapes(one), _shapes(other)
    for name in sorted(left.keys() | right.keys()):
        if left.get(name) != right.get(name):
            return name, left.get(name), right.get(name)
    return None


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_name(path): leaf.shape for path, leaf in leaves}
