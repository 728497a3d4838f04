"""What a set of images is to everything that reads one."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from jaxtyping import UInt8

from hcflow_jax.config import ConfigError

Split = Literal["train", "eval"]


class DataError(ValueError):
    """Images that cannot be read; the message is one line that names the file and what to do."""


class Source(Protocol):
    """Square RGB images with random access. Reading is thread-safe and always gives the same bytes."""

    @property
    def name(self) -> str:
        """For messages and logs."""
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

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of the {len(self)} of {self.name}")
        return self.source[self.start + index]


def split_off_end(source: Source, split: Split, eval_images: int) -> Source:
    """The training part of a source that has no held-out part of its own, or its last `eval_images` images.

    Raises:
      ConfigError: naming `data.eval_images`, if the part asked for, or the training part, would be empty.
    """
    count = len(source)
    if eval_images < 0 or eval_images >= count:
        raise ConfigError(
            f"data.eval_images is {eval_images}: {source.name} holds {count} images, and at least one must "
            "be left to train on"
        )
    if split == "train":
        return Slice(source, 0, count - eval_images, f"{source.name} (train)")
    if eval_images == 0:
        raise ConfigError(f"data.eval_images is 0: no images of {source.name} are held out to evaluate on")
    return Slice(source, count - eval_images, count, f"{source.name} (eval)")
