"""PNG files: their chunks, and the colour that stands for transparency."""

import io
import zlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool
from PIL import Image

from hcflow_jax.data.metadata import Bare, without

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_KEPT = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # of the chunks that a decoder may skip: transparency and frames
_CHANNELS = {0: 1, 2: 3}  # of the colour types, grey and RGB, that tell transparency by a colour
_EXIF, _XMP = b"Raw profile type exif", b"XML:com.adobe.xmp"  # texts that hold what other formats have apart
_MOST_TEXT = 1 << 20  # bytes of a text when unpacked


def bare(data: bytes) -> Bare:
    """Removes text, colour profile and other chunks that do not affect pixels from a PNG.

    The colour that is transparent is taken off too, as Pillow understands it for some depths only (see `clear`).

    Args:
      data: a file that begins with `SIGNATURE`.
    """
    parts: list[tuple[int, int]] = []
    texts: dict[bytes, bytes] = {}
    exif, colour, clear = b"", -1, ()
    for kind, start, stop in _chunks(data):
        body = slice(start + 8, stop - 4)
        if kind == b"IHDR" and stop - start == 25:
            colour = data[body][9]
        elif kind == b"eXIf":
            exif = data[body]
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and data.startswith((_EXIF + b"\0", _XMP + b"\0"), start + 8):
            keyword, _, rest = data[body].partition(b"\0")
            texts[keyword] = _text(kind, rest)
        elif kind == b"tRNS" and colour in _CHANNELS:
            value = data[start + 8 : min(start + 8 + 2 * _CHANNELS[colour], stop - 4)]
            clear = tuple(np.frombuffer(value, ">u2").tolist()) if len(value) == 2 * _CHANNELS[colour] else ()
        if kind[0] & 0x20 and (kind not in _KEPT or (kind == b"tRNS" and colour in _CHANNELS)):
            if parts and parts[-1][1] == start:
                start, _ = parts.pop()
            parts.append((start, stop))
    return Bare(without(data, parts), exif or _profile(texts.get(_EXIF, b"")), texts.get(_XMP, b""), clear)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the type, start and end of each complete chunk, up to the first incomplete one."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        stop = start + 12 + length
        if stop > len(data) or not kind.isalpha():
            return
        yield kind, start, stop
        if kind == b"IEND":
            return
        start = stop


def _text(kind: bytes, rest: bytes) -> bytes:
    """What follows the keyword of a text, unpacked; empty if it is damaged or too large."""
    packed = kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed = rest[:1] not in (b"", b"\0")
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not packed:
        return rest
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(rest, _MOST_TEXT)
    except zlib.error:
        return b""
    return b"" if unpacking.unconsumed_tail else text


def _profile(text: bytes) -> bytes:
    """EXIF that ImageMagick wrote as hexadecimal text, after three lines; empty if it is none."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("latin-1"))
    except ValueError:
        return b""


def is_clear(image: Image.Image, bare: Bare, rawmode: str) -> Bool[np.ndarray, "H W"] | None:
    """Which pixels have the colour that is transparent.

    Args:
      image: decoded from `bare`.
      bare: the file.
      rawmode: Pillow's name for the layout of the file's pixels, for example "L;4".

    Returns:
      The pixels, None if the file names no colour.
    """
    if not bare.clear:
        return None
    pixels = np.asarray(image)
    if rawmode == "RGB;16B":
        # Pillow keeps the upper byte of each value. Taken for little-endian, the same file gives the lower byte.
        with Image.open(io.BytesIO(bare.data), formats=("PNG",)) as again:
            again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]
            lower = np.asarray(again)
        values = [divmod(value, 256) for value in bare.clear]
        return ((pixels == [high for high, _ in values]) & (lower == [low for _, low in values])).all(-1)
    # Of fewer bits than 16, the lowest count. Pillow spreads them over all of 8.
    deep = image.mode.startswith("I")
    most = {"1": 1, "L;2": 3, "L;4": 15}.get(rawmode, 65535 if deep else 255)
    scale = 1 if deep else 255 // most
    matches = pixels == np.array([(value & most) * scale for value in bare.clear], pixels.dtype)
    return matches.reshape(*pixels.shape[:2], -1).all(-1)
