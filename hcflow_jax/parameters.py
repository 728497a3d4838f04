"""How fresh parameters are drawn: each leaf says its distribution, and a whole model is drawn at once.

Compiling one random draw a tensor takes minutes on a CPU for a model of hundreds of tensors. So initialisers
return a `Drawn` box: the value, and how it was drawn. `draw_all` needs only the boxes' shapes, which
`jax.eval_shape` gives without compiling, and makes every value from one draw.
"""

from typing import Any

import jax
import numpy as np
from flax import struct
from flax.core import meta
from jaxtyping import Array, PRNGKeyArray


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


def normal(key: PRNGKeyArray, shape: tuple[int, ...], scale: float) -> Drawn:
    """scale * N(0, 1) of a shape."""
    return Drawn(scale * jax.random.normal(key, shape), scale)


def orthogonal(key: PRNGKeyArray, size: int, scale: float) -> Drawn:
    """scale * a uniformly random orthogonal matrix, (size, size)."""
    return Drawn(scale * jax.random.orthogonal(key, size), scale, orthogonal=True)


def unbox(tree: Any) -> Any:
    """The values alone."""
    return meta.unbox(tree)


def draw_all(key: PRNGKeyArray, boxed: Any) -> Any:
    """Every leaf from one draw: random where boxed, zero elsewhere.

    Args:
      key: typed key.
      boxed: tree of `Drawn` boxes and plain leaves; only shapes are read, so `jax.eval_shape` may have made it.

    Returns:
      The same tree without boxes, float32 numpy arrays.
    """
    leaves, structure = jax.tree.flatten(boxed, is_leaf=lambda leaf: isinstance(leaf, Drawn))
    sizes = [leaf.value.size if isinstance(leaf, Drawn) else 0 for leaf in leaves]
    flat = np.asarray(jax.random.normal(key, (sum(sizes),)))
    ends = np.cumsum(sizes, dtype=int)
    return jax.tree.unflatten(
        structure, [_leaf(leaf, flat[end - n : end]) for leaf, n, end in zip(leaves, sizes, ends, strict=True)]
    )


def _leaf(leaf: Any, draw: np.ndarray) -> np.ndarray | Array:
    if not isinstance(leaf, Drawn):
        return np.zeros(leaf.shape, np.float32)
    values = draw.reshape(leaf.value.shape)
    if leaf.orthogonal:
        q, r = np.linalg.qr(values)
        values = q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return np.asarray(leaf.scale * values, np.float32)


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
