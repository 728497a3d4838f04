"""Removes the metadata of a picture before the decoder reads the file, and finds the orientation in it.

Text, colour profiles and EXIF do not affect pixels. But if they are large or damaged, a decoder may refuse the whole
picture or use unlimited memory. Only the orientation is needed.
"""

import re
import struct
from dataclasses import dataclass

from PIL import Image

_ORIENTATION = 0x0112
# TIFF's types of whole numbers, as `struct` calls them; the standard has the orientation as type 3.
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Bare:
    """The file of a picture without the parts that do not affect pixels.

    Attributes:
      data: the file.
      exif: the EXIF data that it had; empty if none.
      xmp: the XMP data that it had; empty if none.
      clear: a PNG's colour that is transparent, a value a channel of the file's depth; empty if none.
    """

    data: bytes
    exif: bytes = b""
    xmp: bytes = b""
    clear: tuple[int, ...] = ()


def without(data: bytes, parts: list[tuple[int, int]]) -> bytes:
    """Cuts parts, each from a start up to a stop, in their order, out of a file."""
    if not parts:
        return data
    starts, stops = [0, *(stop for _, stop in parts)], [*(start for start, _ in parts), len(data)]
    view = memoryview(data)
    return b"".join(view[start:stop] for start, stop in zip(starts, stops, strict=True))


def turn(exif: bytes, xmp: bytes) -> Image.Transpose | None:
    """Finds how to turn a picture upright.

    EXIF has priority over XMP. Only the orientation is read, so nothing else in them can do harm.

    Args:
      exif: EXIF data, with or without the mark that it begins with in a JPEG.
      xmp: XMP data.

    Returns:
      The transposition; None if the picture is upright, or if neither tells the orientation.
    """
    orientation = _exif_orientation(exif)
    if orientation is None:
        found = _XMP_ORIENTATION.search(xmp)
        orientation = int(found[1]) if found else 1
    return _TURNS.get(orientation)


def _exif_orientation(exif: bytes) -> int | None:
    """The orientation in the first directory of EXIF data, None if it cannot be found there."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    found = None
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(f"{order}HHI", exif, entry)
            if tag != _ORIENTATION or kind not in _INTEGERS or not number:
                continue
            form = order + _INTEGERS[kind]
            place = entry + 8  # up to four bytes lie in the entry itself
            if number * struct.calcsize(form) > 4:
                (place,) = struct.unpack_from(f"{order}I", exif, place)
            (found,) = struct.unpack_from(form, exif, place)
    except struct.error:  # cut off
        pass
    return found
