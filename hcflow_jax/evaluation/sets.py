"""A set of images for a comparison: a folder of pictures, a prepared set, or an array. It is read batch by batch."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from hcflow_jax.data import images as pictures
from hcflow_jax.data.folder import Folder
from hcflow_jax.data.shards import FORMAT, MANIFEST, ShardSource
from hcflow_jax.data.source import several
from hcflow_jax.errors import InputError

Images = UInt8[np.ndarray, "b R R 3"]


@dataclass(frozen=True)
class ImageSet:
    """Square images of one size. It is a `data.Source`.

    Attributes:
      name: the name of the set, for messages.
      count: the number of images.
      resolution: R, pixels.
      images: all images, (n, R, R, 3) uint8; None if they are read when they are needed.
      files: the pictures of a folder, in order.
      prepared: the images of a prepared set.
    """

    name: str
    count: int
    resolution: int
    images: Images | None = None
    files: tuple[Path, ...] = ()
    prepared: ShardSource | None = None
    identity_covers_pixels: ClassVar[bool] = True

    @property
    def identity(self) -> str:
        """A digest of the images' values, or for a folder of the names, sizes and times of its files."""
        if self.prepared is not None:
            return self.prepared.identity
        digest = hashlib.sha256(str(self.resolution).encode())
        if self.images is not None:
            for batch in self.batches(1024):
                digest.update(np.ascontiguousarray(batch).tobytes())
        for file in self.files:
            status = file.stat()
            digest.update(f"{file.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        if not 0 <= index < self.count:
            raise IndexError(f"image {index} of the {self.count} of {self.name}")
        if self.prepared is not None:
            return self.prepared[index]
        return self._read(self.files[index]) if self.images is None else np.asarray(self.images[index])

    def batches(self, size: int) -> Iterator[Images]:
        """Yields the images in order, `size` at a time. Pictures of a folder are read when they are needed.

        Raises:
          DataError: a picture cannot be read; the message names it.
          InputError: a picture has another size; the message names it.
        """
        if self.images is not None:
            for start in range(0, self.count, size):
                yield np.asarray(self.images[start : start + size])
            return
        each = iter(
            map(self._read, self.files) if self.prepared is None else several(self.prepared, range(self.count))
        )
        while batch := list(islice(each, size)):
            yield np.stack(batch)

    def about(self) -> dict[str, Any]:
        """The name, count and resolution as plain values."""
        return {"images": self.name, "count": self.count, "resolution": self.resolution}

    def _read(self, file: Path) -> UInt8[np.ndarray, "R R 3"]:
        square, found = pictures.decode(file, self.resolution, str(file))
        if found != (self.resolution, self.resolution):
            wanted = f"{self.resolution} x {self.resolution}"
            raise InputError(
                f"{file}: is {found[0]} x {found[1]} pixels, but the first image is {wanted}; resize it first"
            )
        return square


def of_array(name: str, images: Images) -> ImageSet:
    """A set of images in memory."""
    return ImageSet(name, len(images), images.shape[1], images=images)


def of_directory(path: Path) -> ImageSet:
    """A prepared set, or the set of all pictures in a folder (`of_folder`).

    Raises:
      DataError, InputError: as `of_folder`; or the prepared set is damaged.
    """
    if not is_prepared(path):
        return of_folder(path)
    source = ShardSource(path, str(path))
    return ImageSet(str(path), len(source), source.manifest["resolution"], prepared=source)


def is_prepared(path: Path) -> bool:
    """Whether a path is a prepared set. A folder of pictures may contain a file named like the manifest."""
    try:
        with open(path / MANIFEST, "rb") as file:
            return FORMAT.encode() in file.read(4096)
    except OSError:
        return False


def of_folder(path: Path) -> ImageSet:
    """The set of all pictures in a folder and its subfolders. They must be square and of one size.

    The size is that of the first picture. The sizes of the others are checked when they are read.

    Raises:
      DataError: the folder is missing or contains no picture, or its first picture cannot be read.
      InputError: the first picture is not square.
    """
    files = tuple(path / name for name in Folder(path).names())
    _, (width, height) = pictures.decode(files[0], 1, str(files[0]))
    if width != height:
        raise InputError(f"{files[0]}: is {width} x {height} pixels; the images must be square and of one size")
    return ImageSet(str(path), len(files), width, files=files)
