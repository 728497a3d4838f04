"""A visit: the state and the operations of one user, with undo and redo. It has no user interface."""

import dataclasses
import io
from pathlib import PurePath

import numpy as np
from PIL import Image as Pillow

from hcflow_jax.api import Bits, Latents, Model
from hcflow_jax.data import DataError, images
from hcflow_jax.errors import InputError
from hcflow_jax.explorer import lines
from hcflow_jax.explorer.decoding import Decoder, Image
from hcflow_jax.explorer.state import Drawn, How, Level, Part, Picture, Source, State

MOST_SIGMA = 1.5  # the largest sigma
MOST_BYTES = 20 * 2**20  # the largest size of an uploaded file
_SEEDS, _STEPS = 2**32, 200  # number of seeds; number of changes that can be undone


class Visit:
    """The state of a visit and its operations.

    The latent of a level is `sigma` times the latent of its source. The source is a seed, which gives a draw from the
    level's prior with standard deviation 1, or a picture, which gives its encoded latent. So sigma 1 shows a picture
    as it is, and sigma 0 gives the mean of the prior. Nothing changes a locked level: operations on all levels skip
    it, and an operation on this level alone raises an error.

    Every operation that changes something is one step for `undo`. Successive calls of `sigma`, `seed` or `blend` for
    the same control, as when a slider is dragged, are one step until `settle` is called.

    Attributes:
      model: the model. Many visits may share it.
      checkpoint: the argument of `api.load` for the model.
      state: the current state; a new object after every change.
      decoder: decodes the image.
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
        """Takes the latents of all levels that are not locked from a picture or a seed. They are then not at zero.

        The levels of a picture get sigma 1. A level that is drawn again keeps its sigma. Other drawn levels get the
        std with which the model samples (`Model.default_sigma`).

        Raises:
          InputError: the seed is not allowed, or all levels are locked.
        """
        if all(level.locked for level in self.state.levels):
            raise InputError("all levels are locked: unlock one to change the image")
        self._change(self.state.with_parts(self._parts(source, self.state.levels)))

    def choose_second(self, source: Source) -> None:
        """Makes a picture or a seed the second image, for `copy` and `blend`. A blended image changes at once.

        Raises:
          InputError: the seed is not allowed.
        """
        self._change(dataclasses.replace(self.state, second=self._parts(source)))

    def blend(self, weight: float, how: How | None = None) -> None:
        """Blends the first and the second image with `Model.blend`. Locked levels keep the latents of the first.

        Args:
          weight: 0 shows the first image, 1 the second.
          how: "linear" or "spherical"; None: as before.

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
        """Scales the latent of a level by 0 to `MOST_SIGMA`. A level at zero gets its latent back.

        Raises:
          InputError: there is no such level, it is locked, or the value is not allowed.
        """
        number = self._free(level)
        if not 0 <= value <= MOST_SIGMA:
            raise InputError(f"sigma is {value!r}: expected a number from 0 to {MOST_SIGMA}")
        part = dataclasses.replace(self.state.levels[number].part, sigma=float(value))
        self._change(self.state.with_level(number, part=part, zero=False), ("sigma", level))

    def seed(self, level: str, seed: int) -> None:
        """Draws a level from a seed, with the sigma as in `take`. A level at zero is then not at zero.

        Raises:
          InputError: there is no such level, it is locked, or the seed is not allowed.
        """
        number = self._free(level)
        part = self._parts(Drawn(seed), self.state.levels)[number]
        self._change(self.state.with_level(number, part=part, zero=False), ("seed", level))

    def copy(self, level: str) -> None:
        """Copies the latent of a level from the second image to the first. It no longer depends on the blend.

        Raises:
          InputError: there is no such level, it is locked, or there is no second image.
        """
        number = self._free(level)
        if self.state.second is None:
            raise InputError("copy: choose a second image first")
        self._change(self.state.with_level(number, part=self.state.second[number], zero=False))

    def zero(self, level: str, on: bool = True) -> None:
        """Sets a level to zero, the mean of the prior. With on=False the level gets its latent back.

        Raises:
          InputError: there is no such level, or it is locked.
        """
        self._change(self.state.with_level(self._free(level), zero=on))

    def lock(self, level: str, on: bool = True) -> None:
        """Locks a level: no operation changes it, and it is not blended. With on=False it is unlocked.

        Raises:
          InputError: there is no such level.
        """
        self._change(self.state.with_level(self._number(level), locked=on))

    # Undo and redo.

    def settle(self) -> None:
        """Ends a drag: the next change of the same control is a new step."""
        self._dragged = None

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to redo: a step was undone, and nothing was changed since."""
        return bool(self._future)

    def undo(self) -> None:
        """Goes back by one step, if there is one."""
        self._go(self._past, self._future)

    def redo(self) -> None:
        """Repeats the step that was undone last, if there is one."""
        self._go(self._future, self._past)

    # Results to show and download, of the given state or of the current one. These methods compute.

    def image(self, state: State | None = None) -> Image:
        """The image, (R, R, 3) uint8. Only the coarsest changed level and the finer ones are decoded."""
        return self.decoder.image((state or self.state).recipes)

    def first_levels(self, count: int, state: State | None = None) -> Image:
        """The image of the `count` coarsest levels, with the finer levels at zero.

        Args:
          count: from 0 to the number of levels - 1.
          state: the state to show; None: the current one.
        """
        return self.decoder.first_levels((state or self.state).recipes, count)

    def latents(self, state: State | None = None) -> Latents:
        """The latents of the image."""
        return self.decoder.latents((state or self.state).recipes)

    def png(self, state: State | None = None) -> bytes:
        """A PNG of the image, decoded by `Model.decode`. The script of `python` writes the same bytes."""
        return as_png(self.decoder.whole((state or self.state).recipes))

    def npz(self, state: State | None = None) -> bytes:
        """The latents in the file format of `hcflow encode`, for `hcflow decode`."""
        levels = {name: np.asarray(array, np.float32) for name, array in self.latents(state).items()}
        file = io.BytesIO()
        np.savez(file, images=np.array([lines.IMAGE]), checkpoint=np.array(self.checkpoint), **levels)  # pyright: ignore
        return file.getvalue()

    def python(self, state: State | None = None) -> str:
        """Python lines that make the image again. They read uploaded pictures by their original names."""
        return lines.python(state or self.state, self.model.level_names, self.checkpoint)

    def command(self, state: State | None = None) -> str:
        """The `hcflow` command that makes the image again. `hcflow decode` needs the file of `npz`."""
        return lines.command(state or self.state, self.model.level_names, self.checkpoint)

    def bits(self, picture: Picture) -> Bits:
        """The bits per dimension of a picture: "total" and one entry for each level, (1,) each.

        Raises:
          InputError: the model has no statistics for single images, or no likelihood.
        """
        return self.model.bits_per_dim(picture.image)

    def read(self, data: bytes, name: str) -> Picture:
        """Reads an uploaded picture in the same way as `hcflow encode`, and encodes it.

        Args:
          data: the bytes of the file.
          name: the name of the file.

        Raises:
          DataError: the file has more than `MOST_BYTES` bytes, or is not a picture (see `images.decode`).
        """
        name = PurePath(name).name or "picture"
        if len(data) > MOST_BYTES:
            raise DataError(f"{name}: {len(data) / 2**20:.0f} MB; give a picture of at most {MOST_BYTES >> 20} MB")
        notes: list[str] = []
        square, size = images.decode(data, self.model.resolution, name, lambda what, _: notes.append(what))
        if size != (self.model.resolution,) * 2:
            notes.append(f"cropped to the square at its centre and resized to {self.model.resolution} pixels")
        return Picture(name, False, square[None], self.model.encode(square[None]), tuple(notes))

    # Shared by the operations.

    def _parts(self, source: Source, levels: tuple[Level, ...] | None = None) -> tuple[Part, ...]:
        """The parts of a source. Levels that are already drawn keep their sigma if they are drawn again."""
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
    """The std with which the model samples a level by default."""
    given = model.default_sigma
    if isinstance(given, dict):
        return float(given.get(level, 1.0))
    return float(given) if level in model.image_model.scaled_levels else 1.0  # pyright: ignore[reportArgumentType]


def as_png(image: Image) -> bytes:
    """The bytes of the PNG file that `pictures.save_png` writes for an image."""
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "PNG")
    return file.getvalue()
