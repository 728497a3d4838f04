"""Latents in an npz: an array a level by its name, and what they are of. Read without pickle, a batch at a time."""

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
_LONGEST = 255 - len(".png")  # bytes of a name without its ending
# What numpy and zipfile raise for damaged files; NotImplementedError is zipfile's, of a compression it does not know,
# and RuntimeError its of a password.
_BROKEN = (
    *(OSError, ValueError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
_VALUES = 2**16  # that are looked at together


class _Member:
    """An array in the file: its header is read when it is made."""

    def __init__(self, archive: zipfile.ZipFile, name: str):
        self._archive, self._name = archive, name
        with archive.open(name) as file:
            self.shape, self._fortran, self.dtype = _header(file)
        if self.dtype.hasobject:
            raise ValueError("an array of Python objects")

    def read(self) -> np.ndarray:
        """All of the array."""
        with self._archive.open(self._name) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    def rows(self, size: int) -> Iterator[np.ndarray]:
        """The array, at most `size` of its first axis at a time; in the order of Fortran, all of it is read first."""
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
            if file.read(1):  # at its end the checksum is compared
                raise ValueError(f"{self._name} is longer than its header says")


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


class Found:
    """What a file holds; from `opened`.

    Attributes:
      images: n names, of the files that were encoded.
      checkpoint: whose latents they are.
    """

    def __init__(self, images: Any, checkpoint: Any, levels: dict[str, _Member]):
        """Takes the members."""
        self.images = tuple(str(name) for part in images.rows(1024) for name in part)
        self.checkpoint, self._levels = str(checkpoint.read()), levels

    def batches(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        """Arrays (b, ...) float32 by level, of at most `size` images."""
        each = zip(*(member.rows(size) for member in self._levels.values()), strict=True)
        return (dict(zip(self._levels, (a.astype(np.float32) for a in arrays), strict=True)) for arrays in each)


@contextmanager
def opened(path: Path) -> Iterator[Found]:
    """Such a file, open for reading. All of it is looked at first, in little memory.

    Raises:
      UsageError: it is missing, damaged, or not of `hcflow encode`.
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
    """What shows that `hcflow encode` did not make it."""
    for name, array, ndim in ((IMAGES, images, 1), (CHECKPOINT, checkpoint, 0)):
        if array is None or array.dtype.kind != "U" or len(array.shape) != ndim:
            return f"has no {name!r}, so it is no file of latents"
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
    """Writes the file at once, as `numpy.savez` would; memory does not grow with the number of images.

    Args:
      path: of the file.
      levels: by name, coarse to fine, the shape (n, ...) and the array's float32 parts (b, ...) in their order.
      images: n names.
      checkpoint: where the model is, or its name.
      about: a text for `about_of`: what the file was made of.

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
    """The text that `write` put into a file; None if there is no such file or it is another's."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment.decode()
    except _BROKEN:
        return None


def distinct(names: Sequence[str]) -> list[str]:
    """A file's name an image, without folder and ending: a, b, a_2, ..."""
    given: dict[str, int] = {}  # names, and the last number that was tried for each
    for name in names:
        # A file that came from elsewhere could name a path outside of the folder.
        stem = free = paths.file_name(Path(name.replace("\\", "/").replace("\0", "")).stem or "image", _LONGEST)
        number = given.get(stem, 1)
        while free in given:
            number += 1
            ending = f"_{number}"
            free = paths.file_name(stem, _LONGEST - len(ending)) + ending
        given[stem] = number
        given.setdefault(free, 1)
    return list(given)
