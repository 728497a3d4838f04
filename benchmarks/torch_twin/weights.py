"""Our parameter tree as the twin's state_dict, and a state_dict (parameters or gradients) as our tree.

Modules have our names; what differs: a run of like steps is one stacked array of ours and an array a step here,
and channels stand last with us and first here.
"""
# pyright: reportMissingImports=false

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import torch
from torch import nn

_RESIDUAL = re.compile(r"\b(down|up)_(\d+)_([abc])\b")


def load(model: nn.Module, tree: Any) -> None:
    """Gives the model our parameters, every one of them.

    Raises:
      RuntimeError: naming what is missing, left over or of another shape.
    """
    state = {}

    def note(path: tuple[str, ...], leaf: Any) -> None:
        array = np.asarray(leaf, np.float32)
        names = _names(path, len(array), model)
        arrays = array if path[0] == "flows" else array[None]
        for name, own in zip(names, arrays, strict=True):
            state[name] = torch.tensor(_channels_first(path[-1], own))

    _map(note, tree)
    model.load_state_dict(state)


def to_tree(model: nn.Module, flat: Mapping[str, Any], like: Any) -> Any:
    """Arrays under the twin's names as a tree of the structure of `like` (arrays or shapes)."""

    def one(path: tuple[str, ...], leaf: Any) -> np.ndarray:
        arrays = [_channels_last(path[-1], np.asarray(flat[n])) for n in _names(path, leaf.shape[0], model)]
        return np.stack(arrays) if path[0] == "flows" else arrays[0]

    return _map(one, like)


def _map(one: Callable[[tuple[str, ...], Any], Any], tree: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda keys, leaf: one(tuple(k.key for k in keys), leaf), tree)


def _names(path: tuple[str, ...], count: int, model: nn.Module) -> list[str]:
    """The twin's names of one of our leaves; `count` of a stacked one."""
    section, level, *rest = path
    if section != "flows":
        return [_RESIDUAL.sub(r"\1.\2.\3", ".".join(path))]
    first = 0
    if level not in ("prior", "y1"):
        run, *rest = rest
        first = _first_step(model.get_submodule(f"flows.{level}"), run)
    inner = _RESIDUAL.sub(r"\1.\2.\3", ".".join(rest))
    return [f"flows.{level}.{first + i}.{inner}" for i in range(count)]


def _first_step(steps: Any, run: str) -> int:
    """Position of the first step of our run "channel_0", "checker_1", ...: runs of one kind follow one another."""
    kinds = [step.kind for step in steps]
    starts = [i for i, kind in enumerate(kinds) if i == 0 or kind != kinds[i - 1]]
    return starts[int(run.split("_")[1])]


def _channels_first(leaf: str, array: np.ndarray) -> np.ndarray:
    if leaf == "w":
        return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    return array.transpose(2, 0, 1) if leaf == "constant" else array


def _channels_last(leaf: str, array: np.ndarray) -> np.ndarray:
    if leaf == "w":
        return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    return array.transpose(1, 2, 0) if leaf == "constant" else array
