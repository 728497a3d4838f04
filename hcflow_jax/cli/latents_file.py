"""Files of latents (npz): one array for each level, the image names and the model. Pickle is never read."""

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hcflow_jax import files, paths
from hcflow_jax.commands import UsageError

IMAGES, CHECKPOINT = "images", "checkpoint"
_LONGEST = 255 - len(".png")  # the most bytes of a name without its ending
# What numpy and zipfile raise for damaged files. zipfile raises NotImplementedError for an unknown compression,
# and RuntimeError for a password.
_BROKEN = (
    *(OSError, ValueError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
_VALUES = 2**16  # how many values are checked at once


class _Member:
    """An array in the file. Its header is read when the object is made."""

    def __init__(self, archive: zipfile.ZipFile, name: str):
        self._archive, self._name = archive, name
        with archive.open(name) as file:
            self.shape, self._fortran, self.dtype = _header(file)
        if self.dtype.hasobject:
            raise ValueError("an array of Python objects")

    def read(self) -> np.ndarray:
        """Reads the whole array."""
        with self._archive.open(self._name) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    def rows(self, size: int) -> Iterator[np.ndarray]:
        """Yields at most `size` rows at a time. An array in Fortran order is read as a whole first."""
        with self._archive.open(self._name) as file:
            if self._fortran:
                whole = self.read()
                yield from (whole[start : start + size] for start in range(0, len(whole), size))
                return
            _header(file)
            row = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
            for start in range(0, self.shape[0], size):
                count = min(size, self.shape[0] - start)
                content = file.read(count * row)
                if len(content) != count * row:
                    raise EOFError(f"{self._name} is cut off")
                yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])
            if file.read(1):  # zipfile compares the checksum at the end
                raise ValueError(f"{self._name} is longer than its header says")


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


class Found:
    """The contents of a file; from `opened`.

    Attributes:
      images: the names of the n encoded files.
      checkpoint: the model that encoded them.
    """

    def __init__(self, images: Any, checkpoint: Any, levels: dict[str, _Member]):
        """Reads the names of the images and the model."""
        self.images = tuple(str(name) for part in images.rows(1024) for name in part)
        self.checkpoint, self._levels = str(checkpoint.read()), levels

    def batches(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        """Arrays (b, ...) float32 by level, of at most `size` images."""
        each = zip(*(member.rows(size) for member in self._levels.values()), strict=True)
        return (dict(zip(self._levels, (a.astype(np.float32) for a in arrays), strict=True)) for arrays in each)


@contextmanager
def opened(path: Path) -> Iterator[Found]:
    """Opens a file of latents for reading. First checks all of it, in little memory.

    Raises:
      UsageError: it is missing, damaged, or was not written by `hcflow encode`.
    """
    with ExitStack() as stack:
        try:
            files.refuse_special(os.stat(path))
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(open(path, "rb"))))
            members = {name.removesuffix(".npy"): _Member(archive, name) for name in archive.namelist()}
            images, checkpoint = members.pop(IMAGES, None), members.pop(CHECKPOINT, None)
            found = _wrong(images, checkpoint, members) or Found(images, checkpoint, members)
        except FileNotFoundError as error:
            raise UsageError(f"{path}: no such file") from error
        except _BROKEN as error:
            raise UsageError(
                f"{path}: cannot be read as a file of latents; encode again with hcflow encode"
            ) from error
        if isinstance(found, str):
            raise UsageError(f"{path}: {found}; give a file that hcflow encode wrote")
        yield found


def _wrong(images: Any, checkpoint: Any, levels: dict[str, _Member]) -> str | None:
    """Why this cannot be a file of `hcflow encode`; None if it can."""
    for name, array, ndim in ((IMAGES, images, 1), (CHECKPOINT, checkpoint, 0)):
        if array is None or array.dtype.kind != "U" or len(array.shape) != ndim:
            return f"has no {name!r}, so it is not a file of latents"
    if not levels or not images.shape[0]:
        return "has no latents"
    for name, array in levels.items():
        if array.dtype.kind != "f" or array.shape[:1] != images.shape:
            return f"level {name!r} is {array.dtype} {array.shape} for {images.shape[0]} images"
        each = max(1, int(np.prod(array.shape[1:], dtype=np.int64)))
        if not all(np.isfinite(part).all() for part in array.rows(max(1, _VALUES // each))):
            return f"level {name!r} has values that are not finite"
    return None


def write(
    path: Path,
    levels: Mapping[str, tuple[tuple[int, ...], Iterator[np.ndarray]]],
    images: Sequence[str],
    checkpoint: str,
    about: str,
) -> None:
    """Writes the whole file, in the format of `numpy.savez`. The memory does not grow with the number of images.

    Args:
      path: the file.
      levels: by name, coarse to fine: the shape (n, ...) and the float32 parts (b, ...) of the array, in order.
      images: n names.
      checkpoint: where the model is, or its name.
      about: a text for `about_of` that identifies what the file was made of.

    Raises:
      OSError: it cannot be written.
    """
    text = np.dtype(f"<U{max(1, *map(len, images))}")
    names = (np.array(images[start : start + 1024], text) for start in range(0, len(images), 1024))

    def save(file: Any) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = about.encode()
            _add(archive, IMAGES, (len(images),), text, names)
            _add(archive, CHECKPOINT, (), np.array(checkpoint).dtype, iter([np.array(checkpoint)]))
            for name, (shape, parts) in levels.items():
                _add(archive, name, shape, np.dtype("<f4"), parts)

    files.write(path, save)


def _add(archive: zipfile.ZipFile, name: str, shape: Any, dtype: np.dtype[Any], parts: Iterator[np.ndarray]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).tobytes())


def about_of(path: Path) -> str | None:
    """The text that `write` put into a file; None if there is no such file or another program wrote it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment.decode()
    except _BROKEN:
        return None


def distinct(names: Sequence[str]) -> list[str]:
    """A different file name for each image, without folder and ending: a, b, a_2, ..."""
    given: dict[str, int] = {}  # names, and the last number tried for each
    for name in names:
        # A name in a foreign file could be a path that leads out of the folder.
        stem = free = paths.file_name(Path(name.replace("\\", "/").replace("\0", "")).stem or "image", _LONGEST)
        number = given.get(stem, 1)
        while free in given:
            number += 1
            ending = f"_{number}"
            free = paths.file_name(stem, _LONGEST - len(ending)) + ending
        given[stem] = number
        given.setdefault(free, 1)
    return list(given)
