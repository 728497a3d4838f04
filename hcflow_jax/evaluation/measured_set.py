"""Opens the images that a model is measured on: the data of its config, a folder, a prepared set or a file."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from hcflow_jax import data
from hcflow_jax.data import Source, identity
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import references, sets
from hcflow_jax.evaluation.protocols import Split


@dataclass(frozen=True)
class Joined:
    """The images of two sources, one after the other, as one `Source`."""

    first: Source
    second: Source
    name: str

    @property
    def identity(self) -> str:
        """See `Source`."""
        return f"{self.first.identity} and {self.second.identity}"

    @property
    def identity_covers_pixels(self) -> bool:
        """See `identity.covers_pixels`."""
        return identity.covers_pixels(self.first) and identity.covers_pixels(self.second)

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        before = len(self.first)
        return self.first[index] if index < before else self.second[index - before]

    def several(self, indices: Sequence[int]) -> Iterator[UInt8[np.ndarray, "R R 3"]]:
        """See `data.several`."""
        before = len(self.first)
        for in_first, places in itertools.groupby(indices, lambda index: index < before):
            source, start = (self.first, 0) if in_first else (self.second, before)
            yield from data.several(source, [place - start for place in places])


def open_data(config: ConfigDict, path: Path | None, split: Split | None) -> Source:
    """Opens the images to measure on.

    Args:
      config: the config of the model.
      path: a folder of pictures, a prepared set, or an .npz of images (`arr_0`). None: the data of the config.
      split: "train", "eval" (held out) or "all". None: "all" for a path, else "eval". A file of images has no splits.

    Raises:
      InputError: the images have another size than the model's, or a split is given for a file of images.
      DataError: the images cannot be read.
    """
    resolution = config.data.resolution
    if path is None:
        return _split(config, split or "eval")
    if sets.is_prepared(path):
        return _split(_other(config, "prepared", path), split or "all")
    if path.is_dir():
        found = sets.of_folder(path)
        _check_size(found, resolution)
        return found if split in (None, "all") else _split(_other(config, "folder", path), split)
    images = references.read(path).images
    if images is None:
        raise InputError(
            f"{path}: contains no images; expected a folder, a prepared set, or an .npz with arr_0, uint8"
        )
    if split not in (None, "all"):
        raise InputError(f"--split {split}: {path} is one array of images without splits; leave out --split")
    found = sets.of_array(str(path), images)
    _check_size(found, resolution)
    return found


def _check_size(found: sets.ImageSet, resolution: int) -> None:
    if found.resolution != resolution:
        raise InputError(
            f"{found.name}: its images have {found.resolution} pixels, and the model has {resolution}; "
            f"prepare them with python -m hcflow_jax.data.prepare --resolution {resolution}"
        )


def _other(config: ConfigDict, kind: str, path: Path) -> ConfigDict:
    """The config, with a path as its data."""
    changed = config.copy_and_resolve_references()
    with changed.unlocked():
        changed.data.update(dict(source=kind, path=str(path), eval_path="", name=""))
    return changed


def _split(config: ConfigDict, split: Split) -> Source:
    if split != "all":
        return data.open_source(config, split)
    whole = config.copy_and_resolve_references()
    nothing_held_out = config.data.source in ("folder", "zip", "prepared", "lsun") and not config.data.eval_path
    if nothing_held_out:
        with whole.unlocked():
            whole.data.update(dict(eval_images=0, eval_fraction=0.0))
        return data.open_source(whole, "train")
    first, second = data.open_source(whole, "train"), data.open_source(whole, "eval")
    return Joined(first, second, f"{first.name} and {second.name}")
