"""Any picture to a square of RGB: one way for every source, so that sets prepared apart agree."""

import io
import logging
import os
import struct
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from hcflow_jax.data.source import DataError

MAX_PIXELS = 89_478_485  # of one picture: a quarter of a GiB as RGB, from where Pillow warns of a bomb

# Decoders of what is found in sets of pictures, by content; Pillow knows many more, and some start programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
# What Pillow's decoders were found to raise for files with bytes changed at random.
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, struct.error)
_WHITE = (255, 255, 255, 255)

FIRST_FRAME = "several frames, of which the first is taken"
DEEP = "16 bits a channel, made 8"
GREY = "grey, made RGB by repeating it"
PALETTE = "colours in a palette, made RGB"
TRANSPARENT = "transparent, laid over white"
CMYK = "CMYK, made RGB without a colour profile"
ENLARGED = "smaller than the resolution, enlarged"

# Such pictures are refused below, in one line. (A filter set for the time of a call would not be thread-safe.)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_said: set[str] = set()
_saying = threading.Lock()


def say_once(what: str, name: str) -> None:
    """Logs that a picture had to be converted: the first of each kind in this process."""
    with _saying:
        if what in _said:
            return
        _said.add(what)
    logging.getLogger(__name__).warning("%s: %s (said once)", name, what)


def load(
    file: Path | bytes, resolution: int, name: str, say: Callable[[str, str], None] = say_once
) -> UInt8[np.ndarray, "R R 3"]:
    """Decodes a picture and makes it a square of `resolution` pixels.

    Its format is told from its content, whatever its name ends in; of several frames it is the first. It is turned
    as its EXIF says, made RGB (`to_rgb`), cropped to the square at its centre and resized by a Lanczos filter, which
    enlarges what is smaller.

    Args:
      file: a path, or the encoded bytes.
      resolution: R, pixels.
      name: what a message calls the picture.
      say: called as say(what, name) for each conversion that is not for free; `what` is a constant of this module.

    Raises:
      DataError: naming the picture, if it is empty, cannot be decoded, or has more than `MAX_PIXELS` pixels.
    """
    try:
        if not (len(file) if isinstance(file, bytes) else os.stat(file).st_size):
            raise DataError(f"{name}: is empty; repair or remove it")
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else os.fspath(file), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(name, f"{image.width} x {image.height} pixels")
            return np.array(_square_rgb(image, resolution, lambda what: say(what, name)))
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, str(error).partition(" exceeds")[0]) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{name}: cannot be read as a picture (of no known format); repair or remove it") from error
    except _BROKEN as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error) or repr(error)
        raise DataError(f"{name}: cannot be read as a picture ({reason}); repair or remove it") from error


def _too_large(name: str, size: str) -> DataError:
    return DataError(f"{name}: too large ({size}, of {MAX_PIXELS} at most); shrink or remove it")


def _square_rgb(image: Image.Image, resolution: int, tell: Callable[[str], None]) -> Image.Image:
    if getattr(image, "is_animated", False) and image.format != "MPO":  # cameras add a preview: no loss
        tell(FIRST_FRAME)
    # Pillow makes 16-bit colours 8-bit as it decodes them: only what it is about to unpack tells.
    if any(";16B" in str(tile.args) for tile in getattr(image, "tile", ())):
        tell(DEEP)
    # Loaded whole first: a truncated file is an error here and not a grey lower half.
    image.load()
    rgb = to_rgb(ImageOps.exif_transpose(image), tell)
    if min(rgb.size) < resolution:
        tell(ENLARGED)
    return to_square(rgb, resolution)


def to_rgb(image: Image.Image, tell: Callable[[str], None]) -> Image.Image:
    """8-bit RGB. Grey is repeated, a palette looked up, transparency laid over white, CMYK taken without a profile.

    Of 16 bits, grey is divided by 257 and rounded; of colours Pillow has kept the upper 8 before.

    Args:
      image: of any mode, loaded.
      tell: called with each conversion's constant.
    """
    if image.mode.startswith("I"):  # Pillow's own conversion clips 16-bit grey at 255
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    kind = {"1": GREY, "L": GREY, "LA": GREY, "P": PALETTE, "PA": PALETTE, "CMYK": CMYK}.get(image.mode)
    if kind:
        tell(kind)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image)[..., 3].min() < 255:
            tell(TRANSPARENT)
            image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return image.convert("RGB")


def to_square(image: Image.Image, resolution: int) -> Image.Image:
    """The largest square at the centre (an odd pixel is cut at the right or the bottom), resized to R x R."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == resolution:
        return image.crop(box)
    return image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=box)
