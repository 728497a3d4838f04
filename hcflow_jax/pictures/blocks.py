"""Sheets of several blocks, one above the other. A block has a title, column headings and labelled rows."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hcflow_jax.errors import InputError
from hcflow_jax.pictures.png import Sheet
from hcflow_jax.pictures.sheets import INK, Images, Rows, strip

SIDE = 96  # approximate side of an image on a sheet, pixels
_LARGEST_SIDE = 512  # pixels: images of different sizes are not enlarged to a common side above this
_HEADING, _LEAST = 15, 8  # the largest and the smallest font size of headings, pixels


@dataclasses.dataclass(frozen=True)
class Block:
    """A part of a sheet.

    Attributes:
      title: the title above the block; "" for no title.
      rows: pairs (label, images), with images (n, R, R, 3) uint8. The label is at the left of the row.
      columns: the headings of the columns, from the first image on; () for no headings.
      scale: each pixel becomes scale x scale pixels.
    """

    title: str
    rows: Sequence[tuple[str, Images]]
    columns: Sequence[str] = ()
    scale: int = 1


def scales(resolutions: Sequence[int], side: int = SIDE) -> list[int]:
    """Integer factors that enlarge images of several sizes to the same side.

    If all resolutions are equal, the side is at most `side` pixels, or the resolution if that is larger. Otherwise
    the common side is at least `side` pixels. If it were larger than 512 pixels and than the largest resolution, each
    image gets a factor of its own instead.

    >>> scales([32]), scales([32, 64]), scales([256, 32])
    ([3], [4, 2], [1, 8])
    """
    common = math.lcm(*resolutions)
    shown = common * max(1, side // common) if len(set(resolutions)) == 1 else common * -(-side // common)
    if shown > max(_LARGEST_SIDE, *resolutions):
        return [max(1, side // resolution) for resolution in resolutions]
    return [shown // resolution for resolution in resolutions]


def blocks(parts: Sequence[Block], gap: int = Rows.GAP) -> Sheet:
    """A sheet of blocks. All labels have the same margin, so the columns of blocks with the same scale are aligned.

    Args:
      parts: the blocks, from top to bottom.
      gap: white pixels between images, and between rows.

    Raises:
      InputError: there is no block, a block has no rows, or images are not uint8 (N, R, R, 3).
    """
    if not parts or not all(part.rows for part in parts):
        raise InputError("a sheet has at least one block, and a block at least one row")
    each = [(label, strip(images, part.scale, gap)) for part in parts for label, images in part.rows]
    widest = max(row.shape[1] for _, row in each)
    layout = Rows([label for label, _ in each], [len(row) for _, row in each], widest, gap)
    titles = ImageFont.load_default(layout.size)
    width = max(layout.width, *(int(titles.getlength(part.title)) + layout.size for part in parts))
    pieces: list[Sheet] = []
    for part in parts:
        pieces.append(_blank(layout.size if pieces else gap, width))
        if part.title:
            pieces.append(_title(width, part.title, layout.size))
        if part.columns:
            cell = part.rows[0][1].shape[2] * part.scale
            pieces.append(_headings(width, layout.margin, cell, gap, part.columns))
        for label, images in part.rows:
            row = layout.row(images, label, part.scale)
            pieces += [np.concatenate([row, _blank(len(row), width - layout.width)], 1), _blank(gap, width)]
    return np.concatenate(pieces)


def beside(sheets: Sequence[Sheet], gap: int = 8) -> Sheet:
    """Puts sheets side by side on white, with their upper edges aligned.

    Args:
      sheets: sheets of any sizes.
      gap: white pixels between them.
    """
    height = max(len(sheet) for sheet in sheets)
    parts: list[Sheet] = []
    for i, sheet in enumerate(sheets):
        if i:
            parts.append(_blank(height, gap))
        parts.append(np.pad(sheet, ((0, height - len(sheet)), (0, 0), (0, 0)), constant_values=255))
    return np.concatenate(parts, 1)


def _blank(height: int, width: int) -> Sheet:
    return np.full((height, width, 3), 255, np.uint8)


def _title(width: int, text: str, size: int) -> Sheet:
    line = Image.new("RGB", (width, round(1.4 * size)), "white")
    place = (size // 2, 0.7 * size)
    ImageDraw.Draw(line).text(place, text, fill=INK, font=ImageFont.load_default(size), anchor="lm")
    return np.array(line)


def _headings(width: int, margin: int, cell: int, gap: int, columns: Sequence[str]) -> Sheet:
    """The headings, in the largest font size at which each fits above its column."""
    lines = [line for text in columns for line in text.split("\n")]
    size = _HEADING
    while size > _LEAST and max(ImageFont.load_default(size).getlength(line) for line in lines) > cell - 2:
        size -= 1
    font = ImageFont.load_default(size)
    height = round(1.3 * size) * max(text.count("\n") + 1 for text in columns)
    line = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(line)
    for i, text in enumerate(columns):
        place = (margin + i * (cell + gap) + cell / 2, height / 2)
        draw.text(place, text, fill=INK, font=font, anchor="mm", align="center", spacing=round(0.2 * size))
    return np.array(line)
