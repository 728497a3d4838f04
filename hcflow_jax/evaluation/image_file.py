"""Writes images to one file in ADM's format, which other evaluators read: .npz with `arr_0`, uint8 (n, R, R, 3)."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from hcflow_jax import files
from hcflow_jax.errors import InputError

Images = UInt8[np.ndarray, "b R R 3"]

_ARRAY = "arr_0.npy"


@contextmanager
def streamed(path: Path, count: int, resolution: int) -> Iterator[Callable[[Images], None]]:
    """Writes images to a file, one batch at a time. Memory does not grow with the number of images.

        with streamed(path, 30_000, 256) as add:
            for images in model.sample_batches(30_000):
                add(images)

    Args:
      path: the path of the .npz file. Its folder must exist.
      count: n, the number of images.
      resolution: R, pixels.

    Yields:
      A function that takes the next images, in order. The file appears when the block ends. If the block raises an
      error or the number of images is not `count`, no file is written, and an earlier file of that name is unchanged.

    Raises:
      InputError: there are not exactly `count` images, or some have another size or dtype.
      OSError: the file cannot be written.
    """
    done = 0
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, resolution, resolution, 3)}
    with (
        files.replacing(path) as partial,
        zipfile.ZipFile(partial, "w") as archive,
        archive.open(zipfile.ZipInfo(_ARRAY), "w", force_zip64=True) as array,
    ):
        np.lib.format.write_array_header_1_0(array, header)  # pyright: ignore[reportArgumentType]

        def add(images: Images) -> None:
            nonlocal done
            if images.dtype != np.uint8 or images.shape[1:] != (resolution, resolution, 3):
                wanted = f"uint8 (b, {resolution}, {resolution}, 3)"
                raise InputError(f"{path}: images are {images.dtype} of shape {images.shape}; expected {wanted}")
            done += len(images)
            array.write(np.ascontiguousarray(images).data)

        yield add
        if done != count:
            raise InputError(f"{path}: {done} images were given, not {count}")
