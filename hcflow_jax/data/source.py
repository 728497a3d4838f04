"""What a set of images is to everything that reads one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.config import ConfigError
from hcflow_jax.errors import InputError

Split = Literal["train", "eval"]


class DataError(InputError):
    """Images that cannot be read; the message is one line that names the file and what to do."""


class ShortageError(DataError):
    """The machine lacks what reading a picture takes. The picture may be whole, so nothing leaves it out for this."""


class Source(Protocol):
    """Square RGB images with random access. Reading is thread-safe and always gives the same bytes."""

    @property
    def name(self) -> str:
        """For messages and logs."""
        ...

    @property
    def identity(self) -> str:
        """A digest of which images these are, in which order and size; the same wherever the set lies."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> UInt8[np.ndarray, "R R 3"]: ...


@dataclass(frozen=True)
class Slice:
    """Images [start, stop) of a source, as a source."""

    source: Source
    start: int
    stop: int
    name: str

    @property
    def identity(self) -> str:
        """See `Source`."""
        return f"{self.source.identity}[{self.start}:{self.stop}]"

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of the {len(self)} of {self.name}")
        return self.source[self.start + index]


def held_out(opener: Callable[[Path], Source], data: ConfigDict, split: Split) -> Source:
    """The training or the held-out part of a set that lies at `data.path` and has no parts of its own.

    Held out is what lies at `data.eval_path`; without one the set's end (`split_off_end`).

    Raises:
      ConfigError: naming the field, for parts that cannot be.
    """
    if not data.eval_path:
        return split_off_end(opener(paths.local(data.path, "data.path")), split, data)
    training, other = paths.local(data.path, "data.path"), paths.local(data.eval_path, "data.eval_path")
    if training.absolute() == other.absolute():
        raise ConfigError(
            f"data.eval_path is {data.eval_path!r}, the same as data.path; the two must not share images"
        )
    return opener(training if split == "train" else other)


def split_off_end(source: Source, split: Split, data: ConfigDict) -> Source:
    """The training part of a source that has no held-out part of its own, or the last of its images.

    Those are `data.eval_images`, or the fraction `data.eval_fraction` of the set where that is above 0.

    Raises:
      ConfigError: naming the field, if the part asked for, or the training part, would be empty.
    """
    count = len(source)
    if not 0 <= data.eval_fraction < 1:
        raise ConfigError(f"data.eval_fraction is {data.eval_fraction}: expected at least 0 and less than 1")
    name, number = "eval_images", data.eval_images
    if data.eval_fraction > 0:
        name, number = "eval_fraction", round(data.eval_fraction * count)
    field = f"data.{name} is {data[name]}"
    if number < 0 or number >= count:
        raise ConfigError(f"{field}: {source.name} holds {count} images, and at least one must remain for training")
    if split == "train":
        return Slice(source, 0, count - number, f"{source.name} (train)")
    if number == 0:
        raise ConfigError(f"{field}: no images of {source.name} are held out to evaluate on")
    return Slice(source, count - number, count, f"{source.name} (eval)")
