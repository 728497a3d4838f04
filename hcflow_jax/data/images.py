"""Any picture to a square of RGB: one way for every source, so that sets prepared apart agree."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from hcflow_jax.data.source import DataError

_WHITE = (255, 255, 255, 255)


def _silent(what: str, name: str) -> None: ...


def load(
    file: Path | bytes, resolution: int, name: str, say: Callable[[str, str], None] = _silent
) -> UInt8[np.ndarray, "R R 3"]:
    """Decodes a picture and makes it a square of `resolution` pixels.

    It is turned as its EXIF says, made RGB (`to_rgb`), cropped to the square at its centre and resized by a
    Lanczos filter.

    Args:
      file: a path, or the encoded bytes.
      resolution: R, pixels.
      name: what a message calls the picture.
      say: is told what is converted, and `name`.

    Raises:
      DataError: naming the picture, if it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else os.fspath(file)) as image:
            # Loaded whole first: a truncated file is an error here and not a grey lower half.
            image.load()
            if image.mode != "RGB":
                say(f"{image.mode} to RGB", name)
            return np.array(to_square(to_rgb(ImageOps.exif_transpose(image)), resolution))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error) or repr(error)
        raise DataError(f"{name}: cannot be read as a picture ({reason}); repair or remove it") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB: 16-bit values are divided by 257 and rounded, transparency is laid over white."""
    if image.mode.startswith("I"):  # Pillow's own conversion clips 16-bit grey at 255
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image.convert("RGBA"))
    return image.convert("RGB")


def to_square(image: Image.Image, resolution: int) -> Image.Image:
    """The largest square at the centre (an odd pixel is cut at the right or the bottom), resized to R x R."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == resolution:
        return image.crop(box)
    return image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=box)
