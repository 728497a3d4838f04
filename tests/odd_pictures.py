"""Pictures that are whole and odd, byte by byte: what the tests of odd pictures share."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

# 6 x 4 pixels of which no two are alike, in areas large enough for a JPEG.
CORNERS = np.array([[[200, 30, 30], [30, 200, 30]], [[30, 30, 200], [220, 220, 40]]], np.uint8).repeat(16, 0)
PICTURE = Image.fromarray(CORNERS.repeat(24, 1))  # 48 x 32 pixels


def encoded(image: Image.Image = PICTURE, kind: str = "PNG", **options: Any) -> bytes:
    """A picture's file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """An entry of an EXIF directory, little-endian; the value has four bytes at most, or is an offset."""
    return struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")


def exif(*entries: bytes, more: bytes = b"") -> bytes:
    """EXIF data with one directory, and what its offsets point to, from byte 14 + 12 entries on."""
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4) + more


def turned(orientation: int) -> bytes:
    """The entry of an orientation."""
    return entry(0x112, 3, 1, struct.pack("<H", orientation))


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG's chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks: bytes, file: bytes | None = None) -> bytes:
    """A PNG with chunks after its header."""
    file = file or encoded()
    return file[:33] + b"".join(chunks) + file[33:]


def png(bits: int, colour: int, row: bytes, width: int, *chunks: bytes) -> bytes:
    """A PNG of four equal rows."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 4, bits, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * 4))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def jpeg_with(*segments: tuple[int, bytes], file: bytes | None = None) -> bytes:
    """A JPEG with segments, each a marker and a body, before its own."""
    file = file or encoded(kind="JPEG")
    added = b"".join(bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return file[:2] + added + file[2:]


def with_exif(kind: str, data: bytes) -> bytes:
    """`PICTURE` as PNG, JPEG or WebP with EXIF data."""
    if kind == "PNG":
        return png_with(chunk(b"eXIf", data))
    if kind == "JPEG":
        return jpeg_with((0xE1, b"Exif\0\0" + data))
    return encoded(kind="WEBP", lossless=True, exif=data)
