"""Sheets of many images as files: written row by row, so that memory does not grow with the number of images."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hcflow_jax.errors import InputError
from hcflow_jax.pictures.png import stream_png
from hcflow_jax.pictures.sheets import Images, Rows, Sheet, grid

LARGEST = 178_956_970  # pixels of a sheet at most: Pillow opens no larger picture


def most_in_rows(columns: int, side: int) -> int:
    """How many images at most `save_rows` puts on a sheet of pairs of rows.

    Args:
      columns: images a row.
      side: pixels of an image's side on the sheet.
    """
    width, height = (columns + 2) * (side + Rows.GAP), 2 * (side + Rows.GAP)  # with room for the labels
    return max(1, LARGEST // (width * height)) * columns


def save_grid(
    path: str | Path,
    batches: Iterable[Images],
    count: int,
    columns: int,
    scale: int = 1,
    about: str | None = None,
) -> None:
    """Writes the sheet that `grid` makes of images; it is in memory a row at a time.

    Args:
      path: the path of the PNG.
      batches: uint8 images (n, R, R, 3), any n; taken one at a time.
      count: the number of images of all batches, at least 1.
      columns: images a row; the last row may be shorter.
      scale: as in `grid`.
      about: as in `save_png`.

    Raises:
      InputError: there are not as many images as said, or the sheet has more than `LARGEST` pixels.
      OSError: the file cannot be written.
    """
    from hcflow_jax.batches import regroup  # here, since it imports jax, which curves need not wait for

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
    """Writes the sheet that `rows` makes of rows of images; it is in memory a row at a time.

    Args:
      path: the path of the PNG.
      images: a row each, of (n, R, R, 3) uint8 pictures; taken one at a time.
      labels: a text a row, each of one line.
      size: most images of a row, and R.
      scale: as in `rows`.

    Raises:
      InputError: there are not as many rows as labels.
      OSError: the file cannot be written.
    """
    longest, resolution = size
    layout = Rows(labels, [resolution * scale] * len(labels), longest * (resolution * scale + Rows.GAP) - Rows.GAP)

    def blocks() -> Iterator[Sheet]:
        for i, (row, label) in enumerate(zip(images, labels, strict=True)):
            if i:
                yield np.full((Rows.GAP, layout.width, 3), 255, np.uint8)
            yield layout.row(row, label, scale)

    stream_png(path, layout.width, layout.height, blocks())
