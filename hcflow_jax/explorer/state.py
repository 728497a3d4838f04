"""The state of a visit, as immutable values: the source of each level's latent, and the blend."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hcflow_jax.api import Latents
from hcflow_jax.api.coder import Images

How = Literal["linear", "spherical"]


@dataclass(frozen=True)
class Drawn:
    """Latents that are drawn from the prior: those of image 0 of `Model.draw` with this seed."""

    seed: int


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and its latents. Two pictures are equal only if they are the same object.

    Attributes:
      name: the name of the file or of the bundled picture.
      bundled: whether the picture comes with the package.
      image: (1, R, R, 3) uint8, at the resolution of the model.
      latents: from `Model.encode`.
      notes: what was done to the picture of the file, such as cropping.
    """

    name: str
    bundled: bool
    image: Images
    latents: Latents
    notes: tuple[str, ...] = ()


Source = Drawn | Picture


@dataclass(frozen=True)
class Part:
    """The latent of one level: `sigma` times the latent of the source.

    A drawn level has the std `sigma` times the level's `prior_std`. The level of a picture is as encoded if `sigma`
    is 1. If `source` is None, the latent is zero.
    """

    source: Source | None
    sigma: float = 1.0


ZERO = Part(None)


@dataclass(frozen=True)
class Mix:
    """The latent of one level between two parts, from `Model.blend` with this weight."""

    a: Part
    b: Part
    weight: float
    how: How


Recipe = Part | Mix
Recipes = tuple[Recipe, ...]  # one for each level, coarse to fine


@dataclass(frozen=True)
class Level:
    """The controls of a level.

    Attributes:
      part: the latent of the level if `zero` is False.
      zero: whether the level is at zero, the mean of the prior. `part` is kept meanwhile.
      locked: whether the level is locked: no operation changes its latent.
    """

    part: Part
    zero: bool = False
    locked: bool = False


@dataclass(frozen=True)
class State:
    """All controls of a visit.

    Attributes:
      levels: the levels, coarse to fine.
      second: the second image, one part for each level; None: no second image is chosen.
      weight: the weight of the second image in the blend: 0 shows only the first image, 1 only the second.
      how: as in `Model.blend`.
    """

    levels: tuple[Level, ...]
    second: tuple[Part, ...] | None = None
    weight: float = 0.0
    how: How = "spherical"

    @property
    def firsts(self) -> tuple[Part, ...]:
        """The first image, one part for each level."""
        return tuple(ZERO if level.zero else level.part for level in self.levels)

    @property
    def recipes(self) -> Recipes:
        """The recipes for the latents of the image that is shown. A locked level is not blended."""
        if self.second is None or self.weight == 0:
            return self.firsts
        return tuple(
            a if level.locked else Mix(a, b, self.weight, self.how)
            for level, a, b in zip(self.levels, self.firsts, self.second, strict=True)
        )

    def with_level(self, number: int, **changes: object) -> "State":
        """The state with some fields of one level changed."""
        changed = dataclasses.replace(self.levels[number], **changes)  # pyright: ignore[reportArgumentType]
        return dataclasses.replace(self, levels=(*self.levels[:number], changed, *self.levels[number + 1 :]))

    def with_parts(self, parts: Sequence[Part]) -> "State":
        """The state in which the levels that are not locked have these parts and are not at zero."""
        levels = tuple(
            level if level.locked else dataclasses.replace(level, part=part, zero=False)
            for level, part in zip(self.levels, parts, strict=True)
        )
        return dataclasses.replace(self, levels=levels)
