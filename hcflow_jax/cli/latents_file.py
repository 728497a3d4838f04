"""Latents in an npz: an array a level by its name, and what they are of. Read without pickle."""

import dataclasses
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hcflow_jax import files, paths
from hcflow_jax.commands import UsageError

IMAGES, CHECKPOINT = "images", "checkpoint"
_LONGEST = 255 - len(".png")  # bytes of a name without its ending
# What numpy and zipfile raise for damaged files; NotImplementedError is zipfile's, of a compression it does not know.
_BROKEN = (OSError, ValueError, EOFError, KeyError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class Found:
    """What a file holds.

    Attributes:
      levels: arrays (n, ...) by level, coarse to fine, float32.
      images: n names, of the files that were encoded.
      checkpoint: whose latents they are.
    """

    levels: dict[str, np.ndarray]
    images: tuple[str, ...]
    checkpoint: str


def write(path: Path, latents: Mapping[str, Any], images: Sequence[str], checkpoint: str) -> None:
    """Writes the file at once.

    Args:
      path: of the file.
      latents: arrays (n, ...) by level, coarse to fine.
      images: n names.
      checkpoint: where the model is, or its name.
    """
    arrays: dict[str, Any] = {IMAGES: np.array(images), CHECKPOINT: np.array(checkpoint)}
    arrays |= {name: np.asarray(array, np.float32) for name, array in latents.items()}
    files.write(path, lambda file: np.savez(file, **arrays))


def read(path: Path) -> Found:
    """Reads such a file, all of it.

    Raises:
      UsageError: it is missing, damaged, or not of `write`.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file") from error
    except _BROKEN + (AttributeError, TypeError) as error:  # the latter two: one array, and no file of several
        raise UsageError(f"{path}: cannot be read as a file of latents; encode again with hcflow encode") from error
    images, checkpoint = arrays.pop(IMAGES, None), arrays.pop(CHECKPOINT, None)
    wrong = _wrong(images, checkpoint, arrays)
    if wrong:
        raise UsageError(f"{path}: {wrong}; give a file that hcflow encode wrote")
    levels = {name: array.astype(np.float32) for name, array in arrays.items()}
    return Found(levels, tuple(map(str, images)), str(checkpoint))


def _wrong(images: Any, checkpoint: Any, levels: Mapping[str, np.ndarray]) -> str | None:
    """What shows that `write` did not make it."""
    for name, array, ndim in ((IMAGES, images, 1), (CHECKPOINT, checkpoint, 0)):
        if array is None or array.dtype.kind != "U" or array.ndim != ndim:
            return f"has no {name!r}, so it is no file of latents"
    if not levels or not len(images):
        return "has no latents"
    for name, array in levels.items():
        if array.dtype.kind != "f" or array.shape[:1] != images.shape:
            return f"level {name!r} is {array.dtype} {array.shape} for {len(images)} images"
        if not np.isfinite(array).all():
            return f"level {name!r} has values that are not finite"
    return None


def distinct(names: Sequence[str]) -> list[str]:
    """A file's name an image, without folder and ending: a, b, a_2, ..."""
    given: list[str] = []
    for name in names:
        # A file that came from elsewhere could name a path outside of the folder.
        stem = Path(name.replace("\\", "/").replace("\0", "")).stem or "image"
        number, free = 1, paths.file_name(stem, _LONGEST)
        while free in given:
            number += 1
            ending = f"_{number}"
            free = paths.file_name(stem, _LONGEST - len(ending)) + ending
        given.append(free)
    return given
