"""`Outline`: a model described for people. Its parts, and the diagrams of it, as data.

A family may have a function `outline(model)` in its module (see `config.registry.Family`) that makes an outline of
its own. The model of a family without one has `Outline` itself, which knows what every `ImageModel` says.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax import parameters
from hcflow_jax.errors import InputError
from hcflow_jax.graphs import BOTTOM, TOP, Arrow, Graph, Node
from hcflow_jax.models.base import ImageModel, level_error

Shapes = Mapping[str, Any]  # a tree of `jax.ShapeDtypeStruct`s, or a part of it


class Outline:
    """A model, described. Nothing is computed or allocated: all counts come from shapes.

    Attributes:
      model: the model.
    """

    def __init__(self, model: ImageModel) -> None:
        self.model = model

    @functools.cached_property
    def shapes(self) -> Shapes:
        """Of the parameters."""
        return self.model.shapes()

    # What a family may say better

    def level_of(self, path: tuple[str, ...]) -> str:
        """The level that a parameter belongs to, by the names on its path; empty: none."""
        return next((name for name in path if name in self.model.level_names), "")

    def overview(self) -> Graph:
        """All of the model: from the image to the latents."""
        levels = self.model.level_names[::-1]
        count = len(levels)
        nodes = [
            Node("image", "image", (sized(self.model.image_shape),), "data", row=0, rows=count),
            Node("model", "model", (), "flow", row=0, column=1, rows=count, parameters=counted(self.shapes)),
        ]
        nodes += [
            Node(f"z_{name}", f"z_{name}", latent_lines(self.model.latent_shapes[name]), "latent", i, 2)
            for i, name in enumerate(levels)
        ]
        arrows = [Arrow("image", "model", "flow", both=True)]
        arrows += [Arrow("model", f"z_{name}", "flow", both=True) for name in levels]
        return Graph(self.title, tuple(nodes), tuple(arrows))

    def flow(self, level: str) -> Graph:
        """The inside of one level's flow.

        Raises:
          InputError: there is no such level, or the family does not describe its flows.
        """
        self.check_level(level)
        raise InputError("this family of models does not describe its flows; its overview is what there is")

    def networks(self, level: str) -> Graph:
        """The networks of one level.

        Raises:
          InputError: there is no such level, or the family does not describe its networks.
        """
        self.check_level(level)
        raise InputError("this family of models does not describe its networks; its overview is what there is")

    # What all have

    @property
    def title(self) -> str:
        """The size of the model, in a line."""
        dims = sum(map(math.prod, self.model.latent_shapes.values()))
        size = self.model.image_shape[0]
        return f"{size}×{size} images, {dims:,} latent dimensions, {counted(self.shapes):,} parameters"

    def rows(self) -> list[dict[str, str | int]]:
        """The parts that have parameters, one row each, for a CSV file.

        A part is what holds arrays: a layer, an actnorm or a mixing. Like steps of a flow are one part, stacked along
        a leading axis.

        Returns:
          Rows of part ("decoder/8/stage_0/conv_in"), level (empty: none), shapes
          ("b 64; w 3x3x64x64") and parameters. The counts add up to those of the model.
        """
        parts: dict[tuple[str, ...], list[tuple[str, tuple[int, ...]]]] = {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.shapes):
            *part, array = parameters.path_name(path).split("/")
            parts.setdefault(tuple(part), []).append((array, leaf.shape))
        return [
            {
                "part": "/".join(part),
                "level": self.level_of(part),
                "shapes": "; ".join(f"{name} {'x'.join(map(str, shape)) or '1'}" for name, shape in arrays),
                "parameters": sum(math.prod(shape) for _, shape in arrays),
            }
            for part, arrays in parts.items()
        ]

    def check_level(self, level: str) -> str:
        """The level's name.

        Raises:
          InputError: there is no such level; it names those that there are.
        """
        if level not in self.model.level_names:
            raise InputError(level_error(level, self.model.level_names))
        return level


def outline(config: ConfigDict) -> Outline:
    """The outline of a config's model.

    Raises:
      ConfigError: there is no model of this config; one line that names the field.
    """
    from hcflow_jax.models.families import build

    model = build(config)
    make: Callable[[Any], Outline] = getattr(schema.load(schema.family_of(config)), "outline", Outline)
    return make(model)


def counted(shapes: Any) -> int:
    """The number of parameters in a tree of shapes, or a part of one."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def sized(shape: tuple[int, ...]) -> str:
    """A shape as people write it.

    >>> sized((32, 32, 3))
    '32×32×3'
    """
    return "×".join(map(str, shape))


def layer_text(shapes: Shapes, activation: str = "") -> str:
    """A layer of w and b in words: "3×3 conv 64 → 128, lrelu"; without an activation, it is linear."""
    *kernel, c_in, c_out = shapes["w"].shape
    kind = f"{kernel[0]}×{kernel[1]} conv" if kernel else "dense"
    bias = "" if "b" in shapes else ", no bias"
    return f"{kind} {c_in} → {c_out}{activation and ', '}{activation}{bias}"


def latent_lines(shape: tuple[int, ...]) -> tuple[str, ...]:
    """The lines of a latent's box: its shape and its dimensions, which are one number at 1x1."""
    dims = f"{math.prod(shape):,} dimensions"
    return (dims,) if len(shape) == 1 else (sized(shape), dims)


def chained(names: tuple[str, ...], kind: str = "flow", both: bool = False) -> tuple[Arrow, ...]:
    """Arrows down a column of boxes."""
    return tuple(Arrow(a, b, kind, BOTTOM, TOP, both) for a, b in zip(names, names[1:], strict=False))
