"""JPEG files: the segments before the first scan."""

import re

from hcflow_jax.data.metadata import Bare, without

SIGNATURE = b"\xff\xd8\xff"
MOST_SCANS = 500  # a progressive picture has about ten; each takes time for all pixels, however short it is

_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_ALONE = {0x01, *range(0xD0, 0xDA)}  # markers without a segment
_SCAN, _APP1, _COMMENT = 0xDA, 0xE1, 0xFE
# JFIF's and Adobe's segments tell the colours. All other segments of applications are taken off.
_DROPPED = {*range(0xE1, 0xEE), 0xEF, _COMMENT}
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


def bare(data: bytes) -> Bare:
    """Removes the metadata of a JPEG. The file stays unchanged from the first unreadable segment on.

    Args:
      data: a file that begins with `SIGNATURE`.

    Raises:
      ValueError: it has more than `MOST_SCANS` scans.
    """
    parts: list[tuple[int, int]] = []
    exif, xmp, place = [], b"", 2
    while (found := _MARKER.search(data, place)) and found.start() + 4 <= len(data):
        start, marker = found.start(), data[found.start() + 1]
        if start > place:  # what lies between two segments: decoders pass over it
            parts.append((place, start))
        if marker in _ALONE:
            place = start + 2
            continue
        if marker == _SCAN:
            _check_scans(data, start)
            break
        stop = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if stop < start + 4 or stop > len(data):
            break
        if marker in _DROPPED:
            body = data[start + 4 : stop]
            if marker == _APP1 and body.startswith(_EXIF):
                exif.append(body[len(_EXIF) :])
            elif marker == _APP1 and body.startswith(_XMP):
                xmp = body[len(_XMP) :]
            parts.append((start, stop))
        place = stop
    return Bare(without(data, parts), b"".join(exif), xmp)


def _check_scans(data: bytes, start: int) -> None:
    end = data.find(b"\xff\xd9", start)
    scans = data.count(b"\xff\xda", start, end if end >= 0 else len(data))
    if scans > MOST_SCANS:
        raise ValueError(f"{scans} scans, of {MOST_SCANS} at most")
