"""Reads picture files of any size: crops each to its central square and resizes it, and says so once."""

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from hcflow_jax import paths
from hcflow_jax.cli.progress import bar
from hcflow_jax.data import DataError, images

Images = UInt8[np.ndarray, "n R R 3"]


def read(files: Sequence[str | Path], resolution: int) -> Images:
    """Reads all pictures at once, in the size that the model needs, with 8 bits a channel.

    Args:
      files: PNG, JPEG, WebP, GIF or BMP files.
      resolution: R, pixels.

    Raises:
      DataError: a file is missing or is not a picture; the message names it.
    """
    with bar(len(files), "reading") as progress:
        read = []
        for image in each(files, resolution):
            read.append(image)
            progress.update()
    return np.stack(read)


def batches(files: Sequence[str | Path], resolution: int, size: int) -> Iterator[Images]:
    """Like `read`, but yields at most `size` pictures at a time; each picture is read when it is needed."""
    pictures = each(files, resolution)
    while read := list(itertools.islice(pictures, size)):
        yield np.stack(read)


def each(files: Sequence[str | Path], resolution: int) -> Iterator[UInt8[np.ndarray, "R R 3"]]:
    """Like `read`, but yields one picture after another. After the last one, prints how pictures were changed."""
    said: dict[str, str] = {}  # each kind of note, and the first file that needed it

    def say(what: str, name: str) -> None:
        said.setdefault(what, name)

    for path in map(paths.local, files):
        square, size = images.decode(path, resolution, str(path), say)
        if size != (resolution, resolution):
            say(f"cropped to its central square and resized to {resolution} pixels", str(path))
        yield square
    for what, name in said.items():
        print(f"note: {name}: {what} (said once)", file=sys.stderr)


def identity(path: str | Path) -> str:
    """A text that changes if a picture file changes: its name, size and time.

    Raises:
      DataError: there is no such file.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path}: cannot be read as a picture ({reason}); repair or remove it") from error
    return f"{path} {status.st_size} {status.st_mtime_ns}"
