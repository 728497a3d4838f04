"""Picture files in: any size, cropped to the square at their centre and resized, which is said once."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from hcflow_jax import paths
from hcflow_jax.cli.progress import bar
from hcflow_jax.data import images

Images = UInt8[np.ndarray, "n R R 3"]


def read(files: Sequence[str | Path], resolution: int) -> Images:
    """Pictures as the model takes them, 8 bits a channel.

    Args:
      files: PNG, JPEG, WebP, GIF or BMP files.
      resolution: R, pixels.

    Raises:
      DataError: naming the file, if it is missing or no picture.
    """
    said: dict[str, str] = {}  # each kind of note, and the first file that it was for

    def say(what: str, name: str) -> None:
        said.setdefault(what, name)

    read = []
    with bar(len(files), "reading") as progress:
        for path in map(paths.local, files):
            square, size = images.decode(path, resolution, str(path), say)
            read.append(square)
            if size != (resolution, resolution):
                say(f"cropped to the square at its centre and resized to {resolution} pixels", str(path))
            progress.update()
    for what, name in said.items():
        print(f"note: {name}: {what} (said once)", file=sys.stderr)
    return np.stack(read)
