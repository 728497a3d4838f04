"""Sheets of images: grids, labelled rows and strips."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from hcflow_jax.errors import InputError
from hcflow_jax.pictures.png import Sheet

Images = UInt8[np.ndarray, "N R R 3"]

INK = (40, 40, 40)  # colour of text
_PALE = 255


def grid(images: Images, columns: int, scale: int = 1, gap: int = 0) -> Sheet:
    """Arranges images in a grid on white, row by row.

    Args:
      images: (N, R, R, 3) uint8.
      columns: the number of images in a row. The last row may be shorter.
      scale: each pixel becomes scale x scale pixels.
      gap: white pixels between images.

    Returns:
      The sheet, of (R scale + gap) rows - gap by (R scale + gap) columns - gap pixels.

    Raises:
      InputError: there are no images, they are not uint8 (N, R, R, 3), or another argument is not allowed.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise InputError(f"expected uint8 images (N, R, R, 3), got {images.dtype} {images.shape}")
    if columns < 1 or scale < 1 or gap < 0:
        raise InputError(f"columns {columns} and scale {scale} must be positive, gap {gap} not negative")
    height, width = images.shape[1] * scale, images.shape[2] * scale
    lines = -(-len(images) // columns)
    sheet = np.full((lines * (height + gap) - gap, columns * (width + gap) - gap, 3), _PALE, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image.repeat(scale, 0).repeat(scale, 1)
    return sheet


def strip(images: Images, scale: int = 1, gap: int = 2) -> Sheet:
    """Puts images into one row.

    Args:
      images: (N, R, R, 3) uint8.
      scale: as in `grid`.
      gap: white pixels between images.
    """
    return grid(images, max(1, len(images)), scale, gap)


class Rows:
    """The layout of a sheet of labelled rows.

    Attributes:
      width, height: the size of the sheet, pixels.
      margin: the distance of the images from the left edge, pixels.
      size: the font size of the labels, pixels.
    """

    GAP = 2  # white pixels between images and between rows, by default

    def __init__(self, labels: Sequence[str], heights: Sequence[int], widest: int, gap: int = GAP):
        """Measures the labels.

        Args:
          labels: the label of each row.
          heights: the heights of the rows, pixels.
          widest: the width of the longest row without its label, pixels.
          gap: white pixels between images, and between rows.
        """
        self._gap, self.size = gap, int(np.clip(min(heights) / 4, 9, 20))
        self._font = ImageFont.load_default(self.size)
        lines = {line for label in set(labels) for line in label.split("\n")}
        self.margin = int(max(self._font.getbbox(line)[2] for line in lines)) + self.size
        self.width, self.height = self.margin + widest, sum(heights) + gap * (len(heights) - 1)

    def draw(self, sheet: Image.Image, top: int, row: Sheet, label: str) -> None:
        """Puts a row and its label on a sheet of this width, `top` pixels from the upper edge."""
        sheet.paste(Image.fromarray(row), (self.margin, top))
        place = (self.size // 2, top + len(row) / 2)
        ImageDraw.Draw(sheet).text(place, label, fill=INK, font=self._font, anchor="lm")

    def row(self, images: Images, label: str, scale: int = 1) -> Sheet:
        """One row of the sheet, with its label, over the whole width."""
        row = strip(images, scale, self._gap)
        sheet = Image.new("RGB", (self.width, len(row)), "white")
        self.draw(sheet, 0, row, label)
        return np.array(sheet)


def rows(images: Sequence[Images], labels: Sequence[str], scale: int = 1, gap: int = Rows.GAP) -> Sheet:
    """A sheet of rows of images. Each row has a label at the left, such as "original" or "z_8 = 0".

    Args:
      images: the rows, (N_i, R, R, 3) uint8. Rows may differ in length and in the size of images.
      labels: the label of each row.
      scale: as in `grid`.
      gap: white pixels between images, and between rows.

    Raises:
      InputError: there are no rows, the number of labels is wrong, or images are not uint8 (N_i, R, R, 3).
    """
    if len(images) != len(labels) or not labels:
        raise InputError(f"{len(images)} rows of images for {len(labels)} labels")
    strips = [strip(row, scale, gap) for row in images]
    layout = Rows(labels, [len(each) for each in strips], max(each.shape[1] for each in strips), gap)
    sheet, top = Image.new("RGB", (layout.width, layout.height), "white"), 0
    for each, label in zip(strips, labels, strict=True):
        layout.draw(sheet, top, each, label)
        top += len(each) + gap
    return np.array(sheet)
