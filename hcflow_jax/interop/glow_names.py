"""The names and shapes of Glow's parameters in other implementations, and conversions to and from our tree.

Two namings are known: the state_dict of the public PyTorch implementation (y0ast/Glow-PyTorch), and the variables of
OpenAI's TensorFlow code (openai/glow). Each naming is a table: our path within a level -> their name, and the layout
of their array. The config, not the table, defines the model.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import models
from hcflow_jax.errors import InputError
from hcflow_jax.models.glow.family import OPENAI

Flat = Mapping[str, np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How an array of ours is stored in their file.

    Attributes:
      ours: converts their array to ours.
      theirs: the inverse.
    """

    ours: Change
    theirs: Change


def _vector(*shape: int, sign: int = 1) -> Layout:
    """The layout of a vector with one value per channel.

    Args:
      *shape: the shape of their array; -1 is the axis of the channels.
      sign: -1 if they store the negative.
    """
    return Layout(lambda a: sign * a.reshape(-1), lambda a: sign * a.reshape(shape))


def _order(p: np.ndarray) -> np.ndarray:
    ones = p == 1
    if not np.array_equal(ones, p != 0) or (ones.sum(0) != 1).any() or (ones.sum(1) != 1).any():
        raise InputError("it is not a permutation matrix")
    return np.argmax(p, 0)


def _permutation(order: np.ndarray) -> np.ndarray:
    p = np.zeros((order.size, order.size), np.float32)
    p[order.astype(int), np.arange(order.size)] = 1
    return p


def _signs(sign: np.ndarray) -> np.ndarray:
    if not np.isin(sign, (-1, 1)).all():
        raise InputError("it has a sign that is neither -1 nor 1")
    return sign


def _top_weight(w: np.ndarray) -> np.ndarray:
    """OpenAI's weight of the top prior's convolution. It is zero except for the indicator channel of the padding."""
    made = np.zeros((*w.shape[:2], w.shape[2] + 1, w.shape[2]), np.float32)
    made[:, :, -1] = w
    return made


_SAME = Layout(lambda a: a, lambda a: a)
_OIHW = Layout(lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
_TRANSPOSED = Layout(lambda a: a.T, lambda a: a.T)
_PERMUTATION = Layout(_order, _permutation)
_LAST_INPUT = Layout(lambda a: a[:, :, -1], _top_weight)

Table = dict[str, tuple[str, Layout]]


@dataclasses.dataclass(frozen=True)
class Naming:
    """The names of one implementation. Levels and steps are counted from 0, in the order from image to latents.

    Attributes:
      step: (level, step, K) -> the prefix of the names of a step.
      split: (level, K) -> the prefix of the names of the split after a level.
      steps: our path after "steps/" -> the rest of their name, and the layout.
      splits: our path after "out/" -> the rest of their name, and the layout.
      top: our path after "top/" -> their name, and the layout.
    """

    step: Callable[[int, int, int], str]
    split: Callable[[int, int], str]
    steps: Table
    splits: Table
    top: Table


_MAP = (1, -1, 1, 1)
PYTORCH_NAMES = Naming(
    # flow.layers counts all layers: a level is a squeeze, K steps and a split.
    step=lambda level, step, k: f"flow.layers.{level * (k + 2) + 1 + step}.",
    split=lambda level, k: f"flow.layers.{level * (k + 2) + k + 1}.",
    steps={
        "actnorm/bias": ("actnorm.bias", _vector(*_MAP, sign=-1)),
        "actnorm/scale": ("actnorm.logs", _vector(*_MAP, sign=-1)),
        "mixing/kernel": ("invconv.weight", _SAME),
        "mixing/lower": ("invconv.lower", _SAME),
        "mixing/upper": ("invconv.upper", _SAME),
        "mixing/log_s": ("invconv.log_s", _SAME),
        "mixing/sign": ("invconv.sign_s", Layout(_signs, lambda a: a)),
        "mixing/order": ("invconv.p", _PERMUTATION),
        "coupling/hidden_0/w": ("block.0.conv.weight", _OIHW),
        "coupling/hidden_0/b": ("block.0.actnorm.bias", _vector(*_MAP)),
        "coupling/hidden_0/logs": ("block.0.actnorm.logs", _vector(*_MAP)),
        "coupling/hidden_1/w": ("block.2.conv.weight", _OIHW),
        "coupling/hidden_1/b": ("block.2.actnorm.bias", _vector(*_MAP)),
        "coupling/hidden_1/logs": ("block.2.actnorm.logs", _vector(*_MAP)),
        "coupling/out/w": ("block.4.conv.weight", _OIHW),
        "coupling/out/b": ("block.4.conv.bias", _SAME),
        "coupling/out/logs": ("block.4.logs", _vector(-1, 1, 1)),
    },
    splits={
        "conv/w": ("conv.conv.weight", _OIHW),
        "conv/b": ("conv.conv.bias", _SAME),
        "conv/logs": ("conv.logs", _vector(-1, 1, 1)),
    },
    top={"b": ("learn_top_fn.conv.bias", _SAME), "logs": ("learn_top_fn.logs", _vector(-1, 1, 1))},
)

_PIXEL, _ROW = (1, 1, 1, -1), (1, -1)
OPENAI_NAMES = Naming(
    step=lambda level, step, k: f"model/{level}/{step}/",
    split=lambda level, k: f"model/pool{level}/",
    steps={
        "actnorm/bias": ("actnorm_center/b", _vector(*_PIXEL, sign=-1)),
        "actnorm/scale": ("actnorm_scale/logs", _vector(*_PIXEL, sign=-1)),
        "mixing/kernel": ("invconv/W", _TRANSPOSED),  # they multiply by the matrix from the right
        "coupling/hidden_0/w": ("f1/l_1/W", _SAME),
        "coupling/hidden_0/b": ("f1/l_1/actnorm_center/b", _vector(*_PIXEL)),
        "coupling/hidden_0/logs": ("f1/l_1/actnorm_scale/logs", _vector(*_PIXEL)),
        "coupling/hidden_1/w": ("f1/l_2/W", _SAME),
        "coupling/hidden_1/b": ("f1/l_2/actnorm_center/b", _vector(*_PIXEL)),
        "coupling/hidden_1/logs": ("f1/l_2/actnorm_scale/logs", _vector(*_PIXEL)),
        "coupling/out/w": ("f1/l_last/W", _SAME),
        "coupling/out/b": ("f1/l_last/b", _vector(*_PIXEL)),
        "coupling/out/logs": ("f1/l_last/logs", _vector(*_ROW)),
    },
    splits={
        "conv/w": ("conv/W", _SAME),
        "conv/b": ("conv/b", _vector(*_PIXEL)),
        "conv/logs": ("conv/logs", _vector(*_ROW)),
    },
    top={
        "w": ("model/prior/p/W", _LAST_INPUT),
        "b": ("model/prior/p/b", _vector(*_PIXEL)),
        "logs": ("model/prior/p/logs", _vector(*_ROW)),
    },
)


def naming(config: ConfigDict) -> Naming:
    """The names for the config's variant."""
    return OPENAI_NAMES if config.model.variant == OPENAI else PYTORCH_NAMES


def entries(config: ConfigDict) -> Iterator[tuple[tuple[str, ...], tuple[int, ...], list[str], Layout]]:
    """Yields (our path, our shape, their names, layout) of every parameter.

    A parameter of the steps is stacked in our tree, and has one name per step. Other parameters have one name.
    """
    names, k = naming(config), config.model.steps
    shapes = models.build(config).shapes()
    for keys, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        path = tuple(str(key.key) for key in keys)
        _, resolution, part, *rest = path
        level = (config.data.resolution // int(resolution)).bit_length() - 2
        table = {"steps": names.steps, "out": names.splits, "top": names.top}[part]
        name, layout = table["/".join(rest)]
        if part == "steps":
            theirs = [names.step(level, i, k) + name for i in range(k)]
        else:
            theirs = [names.split(level, k) + name if part == "out" else name]
        yield path, leaf.shape, theirs, layout


def from_flat(flat: Flat, config: ConfigDict) -> Any:
    """Converts their arrays to our parameter tree, float32.

    Raises:
      InputError: a name is missing, or an array has another shape.
    """
    tree: dict[str, Any] = {}
    for path, shape, theirs, layout in entries(config):
        stacked = path[2] == "steps"
        each = shape[1:] if stacked else shape
        expected = layout.theirs(np.zeros(each, np.float32)).shape
        arrays = []
        for name in theirs:
            if name not in flat:
                raise InputError(f"it has no {name!r}, which is needed for {'/'.join(path)}")
            if flat[name].shape != expected:
                raise InputError(f"{name} has shape {flat[name].shape}; the other shapes need {expected}")
            try:
                arrays.append(layout.ours(np.asarray(flat[name], np.float32)).astype(np.float32))
            except InputError as error:
                raise InputError(f"{name}: {error}") from None
        holder = tree
        for key in path[:-1]:
            holder = holder.setdefault(key, {})
        holder[path[-1]] = np.stack(arrays) if stacked else np.ascontiguousarray(arrays[0])
    return tree


def to_flat(tree: Any, config: ConfigDict) -> dict[str, np.ndarray]:
    """Converts our tree (parameters or gradients) to their names and shapes."""
    flat = {}
    for path, _, theirs, layout in entries(config):
        leaf = tree
        for key in path:
            leaf = leaf[key]
        arrays = np.asarray(leaf) if path[2] == "steps" else np.asarray(leaf)[None]
        flat.update({name: layout.theirs(array) for name, array in zip(theirs, arrays, strict=True)})
    return flat
