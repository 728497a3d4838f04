"""What a set of images is to everything that reads one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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
        """A digest of which images these are, in which order and size; the same wherever the set lies.

        It may be a digest of names. `data.identity` then compares the pixels of a few images.
        """
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

    @property
    def identity_covers_pixels(self) -> bool:
        """See `identity.covers_pixels`."""
        return getattr(self.source, "identity_covers_pixels", False)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of the {len(self)} of {self.name}")
        return self.source[self.start + index]

    def several(self, indices: Sequence[int]) -> Iterable[UInt8[np.ndarray, "R R 3"]]:
        """See `several`."""
        if any(not 0 <= index < len(self) for index in indices):
            raise IndexError(f"images {list(indices)} of the {len(self)} of {self.name}")
        return several(self.source, [self.start + index for index in indices])


def several(source: Source, indices: Sequence[int]) -> Iterable[UInt8[np.ndarray, "R R 3"]]:
    """Reads images of a source. A set in a bucket reads them at the same time, because each takes a request.

    Args:
      source: the source. It may have a method `several(indices)` for this.
      indices: the places of the images in the source.

    Returns:
      The images, in the order of the indices.

    Raises:
      IndexError, DataError: as for one image, here or when the images are taken.
    """
    together = getattr(source, "several", None)
    return together(indices) if together else (source[index] for index in indices)


def held_out(opener: Callable[[Any], Source], data: ConfigDict, split: Split, stores: tuple[str, ...] = ()) -> Source:
    """The training or the held-out part of a set that lies at `data.path` and has no parts of its own.

    Held out is what lies at `data.eval_path`; without one the set's end (`split_off_end`).

    Args:
      opener: opens the set at a path.
      data: the group of the config.
      split: the part.
      stores: the kinds of stores whose buckets the opener can read (`paths.place`).

    Raises:
      ConfigError: naming the field, for parts that cannot be.
    """

    def place(name: str) -> paths.Place:
        return paths.place(data[name], f"data.{name}", stores) if stores else paths.local(data[name], f"data.{name}")

    if not data.eval_path:
        return split_off_end(opener(place("path")), split, data)
    training, other = place("path"), place("eval_path")
    if paths.absolute(training) == paths.absolute(other):
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
