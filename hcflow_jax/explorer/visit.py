"""A visit: what one person sees and does, with undo and redo. Knows the model's API, and no user interface."""

import dataclasses
import io
from pathlib import PurePath

import numpy as np
from PIL import Image as Pillow

from hcflow_jax.api import SIGMA, Bits, Latents, Model
from hcflow_jax.data import DataError, images
from hcflow_jax.errors import InputError
from hcflow_jax.explorer import lines
from hcflow_jax.explorer.decoding import Decoder, Image
from hcflow_jax.explorer.state import Drawn, How, Level, Part, Picture, Source, State

MOST_SIGMA = 1.5  # of the slider
MOST_BYTES = 20 * 2**20  # of an uploaded file
_SEEDS, _STEPS = 2**32, 200  # seeds; changes that can be undone


class Visit:
    """The state of a visit and everything that can be done to it.

    A level's latent is `sigma` times what its source has: for a seed a draw of the level's prior with standard
    deviation 1, for a picture the latent that it was encoded to. So sigma 1 shows a picture as it is, and 0 is the
    prior's mean. Nothing changes a locked level: it is left out by whatever changes all levels, and an operation on
    it alone is refused.

    Every operation that changes something is one step for `undo`. Calls of `sigma`, `seed` and `blend` that follow
    each other, as while a slider is dragged, are one step until `settle` is called.

    Attributes:
      model: may be shared by many visits.
      checkpoint: what `api.load` finds the model by.
      state: what is shown; a new object after every change.
    """

    def __init__(self, model: Model, checkpoint: str):
        """Begins with the sample of seed 0."""
        self.model, self.checkpoint = model, checkpoint
        self.decoder = Decoder(model)
        self.state = State(tuple(Level(part) for part in self._parts(Drawn(0))))
        self._past: list[State] = []
        self._future: list[State] = []
        self._dragged: object = None

    # The whole image.

    def take(self, source: Source) -> None:
        """All levels that are not locked take their latents from a picture or a seed, and are not at zero.

        A picture's levels get sigma 1. Where a drawn level takes another seed it keeps its sigma; else a drawn level
        gets the std that the model samples with (`Model.sigma`, or `api.SIGMA`).

        Raises:
          InputError: the seed is not allowed, or all levels are locked.
        """
        if all(level.locked for level in self.state.levels):
            raise InputError("all levels are locked: unlock one to change the image")
        self._change(self.state.with_parts(self._parts(source, self.state.levels)))

    def choose_second(self, source: Source) -> None:
        """A picture or a seed becomes the second image, for `copy` and `blend`. What is shown changes if blended.

        Raises:
          InputError: the seed is not allowed.
        """
        self._change(dataclasses.replace(self.state, second=self._parts(source)))

    def blend(self, weight: float, how: How | None = None) -> None:
        """Shows `Model.blend` of the image and the second one. Locked levels stay those of the first.

        Args:
          weight: 0 shows the first image, 1 the second.
          how: None leaves it as it is.

        Raises:
          InputError: there is no second image, or an argument is not allowed.
        """
        if self.state.second is None:
            raise InputError("blend: choose a second image first")
        if not 0 <= weight <= 1:
            raise InputError(f"weight is {weight!r}: expected a number from 0 to 1")
        how = how or self.state.how
        if how not in ("linear", "spherical"):
            raise InputError(f"how is linear or spherical, not {how!r}")
        dragged = "blend" if how == self.state.how else None
        self._change(dataclasses.replace(self.state, weight=float(weight), how=how), dragged)

    # One level.

    def sigma(self, level: str, value: float) -> None:
        """Scales the level's latent, 0 to `MOST_SIGMA`; a level at zero is shown again.

        Raises:
          InputError: there is no such level, it is locked, or the value is not allowed.
        """
        number = self._free(level)
        if not 0 <= value <= MOST_SIGMA:
            raise InputError(f"sigma is {value!r}: expected a number from 0 to {MOST_SIGMA}")
        part = dataclasses.replace(self.state.levels[number].part, sigma=float(value))
        self._change(self.state.with_level(number, part=part, zero=False), ("sigma", level))

    def seed(self, level: str, seed: int) -> None:
        """Draws the level from a seed, with its sigma as in `take`; a level at zero is shown again.

        Raises:
          InputError: there is no such level, it is locked, or the seed is not allowed.
        """
        number = self._free(level)
        part = self._parts(Drawn(seed), self.state.levels)[number]
        self._change(self.state.with_level(number, part=part, zero=False), ("seed", level))

    def copy(self, level: str) -> None:
        """The level takes the second image's latent for good, whatever the blend.

        Raises:
          InputError: there is no such level, it is locked, or there is no second image.
        """
        number = self._free(level)
        if self.state.second is None:
            raise InputError("copy: choose a second image first")
        self._change(self.state.with_level(number, part=self.state.second[number], zero=False))

    def zero(self, level: str, on: bool = True) -> None:
        """Puts the level to zero, the prior's mean; off gives it back what it had.

        Raises:
          InputError: there is no such level, or it is locked.
        """
        self._change(self.state.with_level(self._free(level), zero=on))

    def lock(self, level: str, on: bool = True) -> None:
        """Nothing changes a locked level until it is unlocked. A level that is locked leaves the blend.

        Raises:
          InputError: there is no such level.
        """
        self._change(self.state.with_level(self._number(level), locked=on))

    # Steps back and forth.

    def settle(self) -> None:
        """Ends a drag: the next change of the same control is a step of its own."""
        self._dragged = None

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether a step was undone, and nothing was changed since."""
        return bool(self._future)

    def undo(self) -> None:
        """Goes back by one step, if there is one."""
        self._go(self._past, self._future)

    def redo(self) -> None:
        """Does again what was undone last, if there is anything."""
        self._go(self._future, self._past)

    # What is seen and downloaded: of the state that is given, or of the present one. These compute.

    def image(self, state: State | None = None) -> Image:
        """The image, (R, R, 3) uint8; only the levels from the coarsest changed one on are decoded."""
        return self.decoder.image((state or self.state).recipes)

    def first_levels(self, count: int, state: State | None = None) -> Image:
        """The image of the `count` coarsest levels, the finer ones at zero: 0 to all but one."""
        return self.decoder.first_levels((state or self.state).recipes, count)

    def latents(self, state: State | None = None) -> Latents:
        """The latents of the image, of one image."""
        return self.decoder.latents((state or self.state).recipes)

    def png(self, state: State | None = None) -> bytes:
        """A PNG of the image as `Model.decode` makes it: the file that `python` writes, byte for byte."""
        return as_png(self.decoder.whole((state or self.state).recipes))

    def npz(self, state: State | None = None) -> bytes:
        """The latents as `hcflow encode` writes them, for `hcflow decode`."""
        levels = {name: np.asarray(array, np.float32) for name, array in self.latents(state).items()}
        file = io.BytesIO()
        np.savez(file, images=np.array([lines.IMAGE]), checkpoint=np.array(self.checkpoint), **levels)  # pyright: ignore
        return file.getvalue()

    def python(self, state: State | None = None) -> str:
        """Python lines that make the image again. They read uploaded pictures by the names that these had."""
        return lines.python(state or self.state, self.model.level_names, self.checkpoint)

    def command(self, state: State | None = None) -> str:
        """The `hcflow` command that makes the image again; `hcflow decode` needs the file of `npz`."""
        return lines.command(state or self.state, self.model.level_names, self.checkpoint)

    def bits(self, picture: Picture) -> Bits:
        """Bits per dimension of a picture, by level and "total", (1,) each.

        Raises:
          InputError: the model has no statistics for single images, or no likelihood.
        """
        return self.model.bits_per_dim(picture.image)

    def read(self, data: bytes, name: str) -> Picture:
        """An uploaded picture, read as `hcflow encode` reads one, and encoded.

        Args:
          data: the file's bytes.
          name: the file's.

        Raises:
          DataError: the file has more than `MOST_BYTES` bytes, or is no picture (see `images.decode`).
        """
        name = PurePath(name).name or "picture"
        if len(data) > MOST_BYTES:
            raise DataError(f"{name}: {len(data) / 2**20:.0f} MB; give a picture of at most {MOST_BYTES >> 20} MB")
        notes: list[str] = []
        square, size = images.decode(data, self.model.resolution, name, lambda what, _: notes.append(what))
        if size != (self.model.resolution,) * 2:
            notes.append(f"cropped to the square at its centre and resized to {self.model.resolution} pixels")
        return Picture(name, False, square[None], self.model.encode(square[None]), tuple(notes))

    # What these share.

    def _parts(self, source: Source, levels: tuple[Level, ...] | None = None) -> tuple[Part, ...]:
        """A source's parts; drawn levels that are drawn already keep their sigma."""
        if isinstance(source, Picture):
            return (Part(source),) * len(self.model.level_names)
        if isinstance(source.seed, bool) or not isinstance(source.seed, int) or not 0 <= source.seed < _SEEDS:
            raise InputError(f"seed is {source.seed!r}: expected a whole number, 0 to {_SEEDS - 1}")
        sigmas = [default_sigma(self.model, name) for name in self.model.level_names]
        for number, level in enumerate(levels or ()):
            if isinstance(level.part.source, Drawn):
                sigmas[number] = level.part.sigma
        return tuple(Part(source, sigma) for sigma in sigmas)

    def _number(self, level: str) -> int:
        if level not in self.model.level_names:
            raise InputError(f"no level {level!r}; there are {', '.join(self.model.level_names)}")
        return self.model.level_names.index(level)

    def _free(self, level: str) -> int:
        number = self._number(level)
        if self.state.levels[number].locked:
            raise InputError(f"level {level} is locked: unlock it to change it")
        return number

    def _change(self, state: State, dragged: object = None) -> None:
        if state == self.state:
            return
        if dragged is None or dragged != self._dragged:
            self._past = [*self._past[1 - _STEPS :], self.state]
        self._dragged, self._future, self.state = dragged, [], state

    def _go(self, source: list[State], target: list[State]) -> None:
        if source:
            target.append(self.state)
            self.state = source.pop()
            self._dragged = None


def default_sigma(model: Model, level: str) -> float:
    """The std that the model samples a level with unless told otherwise."""
    given = SIGMA if model.sigma is None else model.sigma
    if isinstance(given, dict):
        return float(given.get(level, 1.0))
    return float(given) if level in model.image_model.scaled_levels else 1.0  # pyright: ignore[reportArgumentType]


def as_png(image: Image) -> bytes:
    """An image as the bytes of the file that `pictures.save_png` writes."""
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "PNG")
    return file.getvalue()
