"""Converts parameters between the authors' state_dict (NCHW) and our tree (NHWC). Checks all names and shapes."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import models
from hcflow_jax.errors import InputError
from hcflow_jax.interop.names import Names

Flat = Mapping[str, np.ndarray]

_CONV_AT_1X1 = (
    "endblock_unified.cond_encoders.0.w",
    "endblock_split_conv.w",
)  # the authors' shape is (o, i, 1, 1), ours is (i, o)


def from_torch(flat: Flat, config: ConfigDict) -> Any:
    """Converts the authors' parameters to our tree.

    Args:
      flat: state_dict name -> array. Masks and resampling kernels may be missing.
      config: the config of the same model.

    Returns:
      The parameter tree, with float32 numpy arrays.

    Raises:
      InputError: a name is missing or unknown, or a shape is wrong.
    """
    names = Names(config)
    unused = set(flat)

    def one(path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        theirs = names.theirs(path)
        stacked = shape[0] == len(theirs) and path[0] == "flows"
        each = shape[1:] if stacked else shape
        arrays = []
        for name in theirs:
            if name not in flat:
                raise InputError(f"the state_dict has no {name!r}, which is needed for {'/'.join(path)}")
            unused.discard(name)
            arrays.append(_to_ours(name, np.asarray(flat[name], np.float32), each))
        return np.stack(arrays) if stacked else arrays[0]

    tree = _map_leaves(one, config)
    if left := sorted(name for name in unused if not names.without_effect(name)):
        raise InputError(f"the state_dict has {len(left)} unknown entries, the first {left[0]!r}")
    return tree


def to_torch(tree: Any, config: ConfigDict) -> dict[str, np.ndarray]:
    """Converts our tree to the authors' names and shapes.

    Args:
      tree: parameters, or gradients, in our tree.
      config: the config of the model.

    Returns:
      state_dict name -> array.
    """
    names, flat = Names(config), {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path = tuple(str(k.key) for k in keys)
        theirs = names.theirs(path)
        arrays = np.asarray(leaf) if path[0] == "flows" else np.asarray(leaf)[None]
        for name, array in zip(theirs, arrays, strict=True):
            flat[name] = _to_theirs(name, array)
    return flat


def _map_leaves(one: Any, config: ConfigDict) -> Any:
    """Our tree, with one(path, shape) for each parameter."""
    shapes = models.build(config).shapes()
    return jax.tree_util.tree_map_with_path(
        lambda keys, leaf: one(tuple(str(k.key) for k in keys), leaf.shape), shapes
    )


def _to_ours(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith(".w"):
        made = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        made = made[0, 0] if len(shape) == 2 and made.shape[:2] == (1, 1) else made
    elif name.endswith("conv_d_const") and array.ndim == 4:
        made = array[0].transpose(1, 2, 0)
    elif name.split(".")[-1].startswith("an_"):
        made = array.reshape(-1)
    else:
        made = array
    if made.shape != shape:
        raise InputError(f"{name} has shape {array.shape}; the config expects {shape} (channels last)")
    return made


def _to_theirs(name: str, array: np.ndarray) -> np.ndarray:
    if name.endswith(".w"):
        made = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        return made[..., None, None] if name in _CONV_AT_1X1 else made
    if name.endswith("conv_d_const"):
        return array.transpose(2, 0, 1)[None]
    return array.reshape(1, -1, 1, 1) if name.split(".")[-1].startswith("an_") else array
