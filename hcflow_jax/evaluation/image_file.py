"""Images as one file that other evaluators read: ADM's format, an .npz whose `arr_0` is uint8 (n, R, R, 3)."""

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
    """Writes images to a file, a batch at a time; memory does not grow with their number.

        with streamed(path, 30_000, 256) as add:
            for images in model.sample_batches(30_000):
                add(images)

    Args:
      path: the path of the .npz file. Its folder must exist.
      count: n, how many images there will be.
      resolution: R, pixels.

    Yields:
      What takes the next images, in order. The file is there when the block ends. If the block raises, or the images
      are not as many as said, there is no file, and one that was there before stays as it was.

    Raises:
      InputError: there are not `count` images, or some have another size or dtype.
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
