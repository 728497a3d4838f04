"""Sheets of images: grids, rows with labels, strips; and their files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from hcflow_jax import paths
from hcflow_jax.errors import InputError
from hcflow_jax.files import write

Images = UInt8[np.ndarray, "N R R 3"]
Sheet = UInt8[np.ndarray, "H W 3"]

_PALE, _INK = 255, (40, 40, 40)


def grid(images: Images, columns: int, scale: int = 1, gap: int = 0) -> Sheet:
    """Lays images out row by row on white.

    Args:
      images: uint8 pictures.
      columns: images a row; the last row may be shorter.
      scale: each pixel becomes scale x scale pixels, so that small pictures are seen as they are.
      gap: white pixels between images.

    Returns:
      The sheet: (R scale + gap) rows - gap by (R scale + gap) columns - gap pixels.

    Raises:
      InputError: for anything but uint8 images of three channels, or a count below 1.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise InputError(f"expected uint8 images (N, R, R, 3), got {images.dtype} {images.shape}")
    if columns < 1 or scale < 1 or gap < 0:
        raise InputError(f"columns {columns} and scale {scale} must be positive, gap {gap} not negative")
    images = images.repeat(scale, 1).repeat(scale, 2)
    count, height, width, _ = images.shape
    lines = -(-count // columns)
    sheet = np.full((lines * (height + gap) - gap, columns * (width + gap) - gap, 3), _PALE, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def strip(images: Images, scale: int = 1, gap: int = 2) -> Sheet:
    """One row: what a video would show one after another.

    Args:
      images: uint8 pictures.
      scale: as in `grid`.
      gap: white pixels between images.
    """
    return grid(images, max(1, len(images)), scale, gap)


def rows(images: Sequence[Images], labels: Sequence[str], scale: int = 1, gap: int = 2) -> Sheet:
    """A sheet whose rows say at their left what they are ("original", "z_8 = 0", ...).

    Args:
      images: a row each, of (N_i, R, R, 3) uint8 pictures; rows may differ in length and size.
      labels: a text a row.
      scale: as in `grid`.
      gap: white pixels between images, and between rows.
    """
    if len(images) != len(labels) or not labels:
        raise InputError(f"{len(images)} rows of images for {len(labels)} labels")
    strips = [strip(row, scale, gap) for row in images]
    size = int(np.clip(min(len(each) for each in strips) / 4, 9, 20))
    font = ImageFont.load_default(size)
    margin = int(max(max(font.getbbox(line)[2] for line in label.split("\n")) for label in labels)) + size
    height = sum(len(each) + gap for each in strips) - gap
    sheet = Image.new("RGB", (margin + max(each.shape[1] for each in strips), height), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for each, label in zip(strips, labels, strict=True):
        sheet.paste(Image.fromarray(each), (margin, top))
        draw.text((size // 2, top + len(each) / 2), label, fill=_INK, font=font, anchor="lm")
        top += len(each) + gap
    return np.array(sheet)


def save_png(path: str | Path, array: Sheet) -> None:
    """Writes a PNG at once; makes the folders above it.

    Args:
      path: file to write.
      array: (H, W, 3) uint8.

    Raises:
      InputError: for anything but uint8 values.
    """
    array = np.asarray(array)
    if array.dtype != np.uint8:
        raise InputError(f"{path}: expected uint8 values, got {array.dtype}")
    write(paths.local(path), lambda file: Image.fromarray(array).save(file, "PNG"))
