"""Writes sheets of many images to files, row by row, so that memory does not grow with the number of images."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hcflow_jax.errors import InputError
from hcflow_jax.pictures.png import stream_png
from hcflow_jax.pictures.sheets import Images, Rows, Sheet, grid

LARGEST = 178_956_970  # the most pixels of a sheet: Pillow does not open a larger picture


def most_in_rows(columns: int, side: int) -> int:
    """The largest number of images for a sheet of `save_rows` whose rows come in pairs.

    Args:
      columns: the number of images in a row.
      side: the side of an image on the sheet, pixels.
    """
    width, height = (columns + 2) * (side + Rows.GAP), 2 * (side + Rows.GAP)  # with space for the labels
    return max(1, LARGEST // (width * height)) * columns


def save_grid(
    path: str | Path,
    batches: Iterable[Images],
    count: int,
    columns: int,
    scale: int = 1,
    about: str | None = None,
) -> None:
    """Writes the sheet that `grid` makes. One row at a time is in memory.

    Args:
      path: the path of the PNG.
      batches: uint8 images (n, R, R, 3) of any n. They are taken one batch at a time.
      count: the number of images of all batches, at least 1.
      columns: the number of images in a row. The last row may be shorter.
      scale: as in `grid`.
      about: as in `save_png`.

    Raises:
      InputError: the number of images is not `count`, or the sheet has more than `LARGEST` pixels.
      OSError: the file cannot be written.
    """
    from hcflow_jax.batches import regroup  # imports jax, which is slow, and other pictures do not need it

    rows = regroup(batches, columns)
    first = next(rows, None)
    if first is None or count < 1 or columns < 1:
        raise InputError(f"count is {count} and columns {columns}: a sheet has at least one image")
    side, lines = first.shape[1] * scale, -(-count // columns)
    if lines * columns * side**2 > LARGEST:
        raise InputError(f"{path}: a sheet of {count} images of {side} pixels is too large; give fewer images")

    def blocks() -> Iterator[Sheet]:
        yield grid(first, columns, scale)
        for row in rows:
            yield grid(row, columns, scale)

    stream_png(path, columns * side, lines * side, blocks(), about)


def save_rows(
    path: str | Path, images: Iterable[Images], labels: Sequence[str], size: tuple[int, int], scale: int = 1
) -> None:
    """Writes the sheet that `rows` makes. One row at a time is in memory.

    Args:
      path: the path of the PNG.
      images: the rows, (n, R, R, 3) uint8 each. They are taken one at a time.
      labels: the label of each row, one line of text.
      size: (the largest number of images in a row, R).
      scale: as in `rows`.

    Raises:
      InputError: an image has another height than R, or the number of rows is not the number of labels.
      OSError: the file cannot be written.
    """
    longest, resolution = size
    layout = Rows(labels, [resolution * scale] * len(labels), longest * (resolution * scale + Rows.GAP) - Rows.GAP)

    def blocks() -> Iterator[Sheet]:
        count = 0
        for row in images:
            if count == len(labels):
                raise InputError(f"there are more rows of images than labels, which are {len(labels)}")
            if count:
                yield np.full((Rows.GAP, layout.width, 3), 255, np.uint8)
            yield layout.row(row, labels[count], scale)
            count += 1
        if count < len(labels):
            raise InputError(f"there are {count} rows of images, but {len(labels)} labels")

    stream_png(path, layout.width, layout.height, blocks())
