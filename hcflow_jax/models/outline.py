"""`Outline`: a description of a model for people: its parts and its diagrams, as data.

The module of a family may have a function `outline(model)` (see `config.registry.Family`) that makes an outline of
its own class. Models of other families get `Outline` itself, which uses only the interface of `ImageModel`.
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

Shapes = Mapping[str, Any]  # a tree of `jax.ShapeDtypeStruct`s, or a subtree


class Outline:
    """The description of a model. All counts come from shapes; no parameters are made.

    Attributes:
      model: the model.
    """

    def __init__(self, model: ImageModel) -> None:
        self.model = model

    @functools.cached_property
    def shapes(self) -> Shapes:
        """The shapes of the parameters."""
        return self.model.shapes()

    # A family may override these

    def level_of(self, path: tuple[str, ...]) -> str:
        """The level that a parameter belongs to; "" if none.

        Args:
          path: the names on the path of the parameter.
        """
        return next((name for name in path if name in self.model.level_names), "")

    def overview(self) -> Graph:
        """The diagram of the whole model, from the image to the latents."""
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
        """The diagram of the flow of one level.

        Raises:
          InputError: there is no such level, or the family does not describe its flows.
        """
        self.check_level(level)
        raise InputError("this family of models does not describe its flows; its overview is what there is")

    def networks(self, level: str) -> Graph:
        """The diagram of the networks of one level.

        Raises:
          InputError: there is no such level, or the family does not describe its networks.
        """
        self.check_level(level)
        raise InputError("this family of models does not describe its networks; its overview is what there is")

    # The same for all families

    @property
    def title(self) -> str:
        """One line with the size of the images, the latents and the parameters."""
        dims = sum(map(math.prod, self.model.latent_shapes.values()))
        size = self.model.image_shape[0]
        return f"{size}×{size} images, {dims:,} latent dimensions, {counted(self.shapes):,} parameters"

    def rows(self) -> list[dict[str, str | int]]:
        """The parts of the model that have parameters, one row per part, for a CSV file.

        A part is a layer, an actnorm or a mixing. Arrays of all steps of a `flows.Repeat` are in one part: they are
        stacked along a leading axis.

        Returns:
          Rows with the keys "part" (such as "decoder/8/stage_0/conv_in"), "level" ("" if none), "shapes" (such as
          "b 64; w 3x3x64x64") and "parameters", whose sum is the number of parameters of the model.
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
        """Returns the name of the level.

        Raises:
          InputError: there is no such level; the message names the levels of the model.
        """
        if level not in self.model.level_names:
            raise InputError(level_error(level, self.model.level_names))
        return level


def outline(config: ConfigDict) -> Outline:
    """The outline of the model of a config.

    Raises:
      ConfigError: no model can be made from the config; one line that names the field.
    """
    from hcflow_jax.models.families import build

    model = build(config)
    make: Callable[[Any], Outline] = getattr(schema.load(schema.family_of(config)), "outline", Outline)
    return make(model)


def counted(shapes: Any) -> int:
    """The number of parameters in a tree of shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def sized(shape: tuple[int, ...]) -> str:
    """A shape as text.

    >>> sized((32, 32, 3))
    '32×32×3'
    """
    return "×".join(map(str, shape))


def layer_text(shapes: Shapes, activation: str = "") -> str:
    """A layer with the parameters w and b as text: "3×3 conv 64 → 128, lrelu".

    Args:
      shapes: the shapes of its parameters.
      activation: the name of the activation; "" for a linear layer.
    """
    *kernel, c_in, c_out = shapes["w"].shape
    kind = f"{kernel[0]}×{kernel[1]} conv" if kernel else "dense"
    bias = "" if "b" in shapes else ", no bias"
    return f"{kind} {c_in} → {c_out}{activation and ', '}{activation}{bias}"


def latent_lines(shape: tuple[int, ...]) -> tuple[str, ...]:
    """The text in the box of a latent: its shape and number of dimensions; only the latter for a vector."""
    dims = f"{math.prod(shape):,} dimensions"
    return (dims,) if len(shape) == 1 else (sized(shape), dims)


def chained(names: tuple[str, ...], kind: str = "flow", both: bool = False) -> tuple[Arrow, ...]:
    """Arrows from each box of a column to the next one below."""
    return tuple(Arrow(a, b, kind, BOTTOM, TOP, both) for a, b in zip(names, names[1:], strict=False))
