"""What a visit shows, as a value that never changes: where each level's latent comes from, and what is blended in."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hcflow_jax.api import Latents
from hcflow_jax.api.coder import Images

How = Literal["linear", "spherical"]


@dataclass(frozen=True)
class Drawn:
    """Latents that the prior gives for a seed: those of image 0 of `Model.draw`."""

    seed: int


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and its latents. Two of them are equal only if they are the same object.

    Attributes:
      name: of its file, or of the picture in the package.
      bundled: whether it comes with the package.
      image: (1, R, R, 3) uint8, as the model takes it.
      latents: of `Model.encode`.
      notes: what was done to the file's picture, such as cropping.
    """

    name: str
    bundled: bool
    image: Images
    latents: Latents
    notes: tuple[str, ...] = ()


Source = Drawn | Picture


@dataclass(frozen=True)
class Part:
    """One level's latent: `sigma` times what the source has for that level.

    A drawn level has std `sigma` (times the level's own `prior_std`). A picture's level is as it was encoded where
    `sigma` is 1. `source` None is a latent of zeros.
    """

    source: Source | None
    sigma: float = 1.0


ZERO = Part(None)


@dataclass(frozen=True)
class Mix:
    """One level's latent between two: that of `Model.blend`."""

    a: Part
    b: Part
    weight: float
    how: How


Recipe = Part | Mix
Recipes = tuple[Recipe, ...]  # by level, coarse to fine


@dataclass(frozen=True)
class Level:
    """The controls of a level.

    Attributes:
      part: what the level has unless `zero`.
      zero: the level is at zero, the prior's mean; `part` is kept for when it is not.
      locked: the level keeps its latent whatever is done.
    """

    part: Part
    zero: bool = False
    locked: bool = False


@dataclass(frozen=True)
class State:
    """All controls of a visit.

    Attributes:
      levels: coarse to fine.
      second: the second image, a part by level; None where none was chosen.
      weight: of the second image in the blend: 0 shows the first alone, 1 the second alone.
      how: as in `Model.blend`.
    """

    levels: tuple[Level, ...]
    second: tuple[Part, ...] | None = None
    weight: float = 0.0
    how: How = "spherical"

    @property
    def firsts(self) -> tuple[Part, ...]:
        """The first image, a part by level."""
        return tuple(ZERO if level.zero else level.part for level in self.levels)

    @property
    def recipes(self) -> Recipes:
        """How the latents that are shown are made. A locked level does not take part in the blend."""
        if self.second is None or self.weight == 0:
            return self.firsts
        return tuple(
            a if level.locked else Mix(a, b, self.weight, self.how)
            for level, a, b in zip(self.levels, self.firsts, self.second, strict=True)
        )

    def with_level(self, number: int, **changes: object) -> "State":
        """The same, but for some fields of one level."""
        changed = dataclasses.replace(self.levels[number], **changes)  # pyright: ignore[reportArgumentType]
        return dataclasses.replace(self, levels=(*self.levels[:number], changed, *self.levels[number + 1 :]))

    def with_parts(self, parts: Sequence[Part]) -> "State":
        """The same, but levels that are not locked take these parts and are not at zero."""
        levels = tuple(
            level if level.locked else dataclasses.replace(level, part=part, zero=False)
            for level, part in zip(self.levels, parts, strict=True)
        )
        return dataclasses.replace(self, levels=levels)
