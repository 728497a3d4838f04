"""Converts any picture to an RGB square, in the same way for every source, so that all prepared sets agree."""

import io
import logging
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from hcflow_jax.data import jpeg, metadata, png, reading
from hcflow_jax.data.metadata import Bare
from hcflow_jax.data.source import DataError

MAX_PIXELS = 89_478_485  # of one picture: a quarter of a GiB as RGB, from where Pillow warns of a bomb

# The decoders for sets of pictures. Pillow knows many more, and some of them start programs.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
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
# Pillow's other warnings do not name the picture. It is used anyway, or refused below.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

Say = Callable[[str, str], None]

_said: set[str] = set()
_saying = threading.Lock()


def say_once(what: str, name: str) -> None:
    """Logs that a picture was converted, once for each kind of conversion in this process."""
    log_once(f"{name}: {what} (said once)", what)


def log_once(message: str, key: str) -> None:
    """Logs a message unless this process has logged one with the same key."""
    with _saying:
        if key in _said:
            return
        _said.add(key)
    logging.getLogger(__name__).warning("%s", message)


def load(file: Path | bytes, resolution: int, name: str, say: Say = say_once) -> UInt8[np.ndarray, "R R 3"]:
    """Decodes a picture and makes it a square of `resolution` pixels: see `decode`."""
    return decode(file, resolution, name, say)[0]


def decode(
    file: Path | bytes, resolution: int, name: str, say: Say = say_once
) -> tuple[UInt8[np.ndarray, "R R 3"], tuple[int, int]]:
    """Decodes a picture and makes it a square of `resolution` pixels.

    The content decides the format, not the name. Of several frames the first is used. The picture is converted to RGB
    (`to_rgb`), turned as its EXIF or XMP says, cropped to its central square and resized by a Lanczos filter, which
    also enlarges small pictures. Other metadata is not read, so it may be large or damaged.

    Args:
      file: a path, or the encoded bytes.
      resolution: R, pixels.
      name: the name of the picture in messages.
      say: called as say(what, name) for each conversion; `what` is a constant of this module.

    Returns:
      The square, and the width and the height, in pixels, that the file has.

    Raises:
      DataError: naming the picture, if it is empty, cannot be decoded, has more than `MAX_PIXELS` pixels, or is a
        path to anything but a file. Whatever a decoder raises is raised as this.
      ShortageError: naming the picture, if there is not enough memory.
    """
    said: list[str] = []
    with reading.naming(name, "cannot be read as a picture", "repair or remove it"):
        try:
            data = file if isinstance(file, bytes) else reading.read_file(file)
            if not data:
                raise DataError(f"{name}: is empty; repair or remove it")
            bare = _bare(data)
            with Image.open(io.BytesIO(bare.data), formats=_FORMATS) as image:
                size = image.size
                if size[0] * size[1] > MAX_PIXELS:
                    raise _too_large(name, f"{size[0]} x {size[1]} pixels")
                square = np.array(_square_rgb(image, bare, resolution, said.append))
        except FileNotFoundError as error:
            raise ValueError("no such file") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large(name, str(error).partition(" exceeds")[0]) from error
        except Image.UnidentifiedImageError as error:
            raise ValueError("of no known format") from error
    for what in said:
        say(what, name)
    return square, size


def _too_large(name: str, size: str) -> DataError:
    return DataError(f"{name}: too large ({size}, of {MAX_PIXELS} at most); shrink or remove it")


def _bare(data: bytes) -> Bare:
    for kind in (png, jpeg):
        if data.startswith(kind.SIGNATURE):
            return kind.bare(data)
    return Bare(data)


def _square_rgb(image: Image.Image, bare: Bare, resolution: int, tell: Callable[[str], None]) -> Image.Image:
    if getattr(image, "is_animated", False) and image.format != "MPO":  # cameras add a preview, which is not needed
        tell(FIRST_FRAME)
    # The bit depth is only known from what the decoder will unpack.
    rawmode = next((str(tile.args) for tile in getattr(image, "tile", ())), "")
    if ";16B" in rawmode:
        tell(DEEP)
    # Load all of it first, so that a truncated file is an error and not a picture with a grey lower half.
    image.load()
    turn = metadata.turn(bare.exif or image.info.get("exif", b""), bare.xmp or image.info.get("xmp", b""))
    rgb = to_rgb(image, tell, png.is_clear(image, bare, rawmode))
    if turn is not None:
        rgb = rgb.transpose(turn)
    if min(rgb.size) < resolution:
        tell(ENLARGED)
    return to_square(rgb, resolution)


def to_rgb(
    image: Image.Image, tell: Callable[[str], None], clear: Bool[np.ndarray, "H W"] | None = None
) -> Image.Image:
    """8-bit RGB. Grey is repeated, a palette looked up, transparency laid over white, CMYK taken without a profile.

    Of 16 bits, grey is divided by 257 and rounded; of colours Pillow has kept the upper 8 before.

    Args:
      image: an image of any mode, loaded.
      tell: called with each conversion's constant.
      clear: pixels that are transparent besides, where the file says so by a colour.
    """
    if image.mode.startswith("I"):  # Pillow's own conversion clips 16-bit grey at 255
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    kind = {"1": GREY, "L": GREY, "LA": GREY, "La": GREY, "P": PALETTE, "PA": PALETTE, "CMYK": CMYK}.get(image.mode)
    if kind:
        tell(kind)
    if image.mode == "La":  # Pillow makes nothing else of it
        image = image.convert("LA")
    transparent = False
    if image.has_transparency_data:
        image = image.convert("RGBA")
        transparent = np.asarray(image)[..., 3].min() < 255
        if transparent:
            image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    image = image.convert("RGB")
    if clear is not None and clear.any():
        transparent = True
        image.paste(_WHITE[:3], mask=Image.fromarray(clear))
    if transparent:
        tell(TRANSPARENT)
    return image


def to_square(image: Image.Image, resolution: int) -> Image.Image:
    """The largest square at the centre (an odd pixel is cut at the right or the bottom), resized to R x R."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == resolution:
        return image.crop(box)
    return image.resize((resolution, resolution), Image.Resampling.LANCZOS, box=box)
