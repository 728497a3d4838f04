"""Arrays in, picture files out: sheets of images and curves. Knows nothing else of this package."""

import io
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

Images = UInt8[np.ndarray, "N R R 3"]
Sheet = UInt8[np.ndarray, "H W 3"]

_PALE, _INK = 255, (40, 40, 40)
_COLOURS = ("#4c8eda", "#e8853d", "#58a868", "#c65a76", "#8a6fc0", "#8c8c8c")


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
      ValueError: for anything but uint8 images of three channels, or a count below 1.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise ValueError(f"expected uint8 images (N, R, R, 3), got {images.dtype} {images.shape}")
    if columns < 1 or scale < 1 or gap < 0:
        raise ValueError(f"columns {columns} and scale {scale} must be positive, gap {gap} not negative")
    images = images.repeat(scale, 1).repeat(scale, 2)
    count, height, width, _ = images.shape
    lines = -(-count // columns)
    sheet = np.full((lines * (height + gap) - gap, columns * (width + gap) - gap, 3), _PALE, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def rows(images: Sequence[Images], labels: Sequence[str], scale: int = 1, gap: int = 2) -> Sheet:
    """A sheet whose rows say at their left what they are ("original", "z_8 = 0", ...).

    Args:
      images: a row each, of (N_i, R, R, 3) uint8 pictures; rows may differ in length and size.
      labels: a text a row.
      scale: as in `grid`.
      gap: white pixels between images, and between rows.
    """
    if len(images) != len(labels) or not labels:
        raise ValueError(f"{len(images)} rows of images for {len(labels)} labels")
    strips = [grid(row, len(row), scale, gap) for row in images]
    size = int(np.clip(min(len(strip) for strip in strips) / 4, 9, 20))
    font = ImageFont.load_default(size)
    margin = int(max(max(font.getbbox(line)[2] for line in label.split("\n")) for label in labels)) + size
    height = sum(len(strip) + gap for strip in strips) - gap
    sheet = Image.new("RGB", (margin + max(strip.shape[1] for strip in strips), height), "white")
    draw, top = ImageDraw.Draw(sheet), 0
    for strip, label in zip(strips, labels, strict=True):
        sheet.paste(Image.fromarray(strip), (margin, top))
        draw.text((size // 2, top + len(strip) / 2), label, fill=_INK, font=font, anchor="lm")
        top += len(strip) + gap
    return np.array(sheet)


def save_png(path: str | Path, array: Sheet) -> None:
    """Writes a PNG at once (readers never see a half); makes the folders above it."""
    array = np.asarray(array)
    if array.dtype != np.uint8:
        raise ValueError(f"{path}: expected uint8 values, got {array.dtype}")
    _write(Path(path), lambda file: Image.fromarray(array).save(file, "PNG"))


def curve(
    path: str | Path,
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str,
    x_label: str,
    y_label: str,
) -> None:
    """Draws lines over one axis, as a PNG of 960 x 600 pixels; values that are not finite leave gaps.

    Args:
      path: file to write.
      series: name -> (xs, ys), each of one length.
      title: above the axes.
      x_label: with its unit.
      y_label: with its unit.

    Raises:
      ImportError: naming the extra, if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{path}: curves need matplotlib: pip install 'hcflow_jax[pictures]'") from error
    # Figure and canvas without pyplot: no global state, so any thread may draw.
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label)
    for i, (name, (xs, ys)) in enumerate(series.items()):
        xs, ys = np.asarray(xs, float), np.asarray(ys, float)
        marker = "o" if len(xs) <= 24 else None
        axes.plot(xs, ys, label=name, color=_COLOURS[i % len(_COLOURS)], lw=1.6, marker=marker, ms=3.5)
    axes.grid(color="#e6e6e6", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9a9a9a")
    axes.tick_params(colors="#555555")
    if len(series) > 1:
        axes.legend(frameon=False)
    _write(Path(path), lambda file: figure.savefig(file, format="png"))


def _write(path: Path, save: Callable[[io.BytesIO], None]) -> None:
    buffer = io.BytesIO()
    save(buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(buffer.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
