"""Pictures damaged at random: `python odd_fuzz.py SEED COUNT` reads COUNT of each and prints what came of them.

Each must be read, or refused in one line that names it, in little time and memory and without a word on stderr.
"""

import random
import re
import struct
import sys
import time
import zlib
from collections.abc import Iterator

import numpy as np
import odd_pictures as odd
from peak_memory import peak
from PIL import Image

from hcflow_jax.data import DataError, images

MOST_SECONDS = 30.0  # for one of these pictures, which have few pixels, on a busy machine

TAGS = [odd.turned(6), odd.entry(0x10F, 2, 6, struct.pack("<I", 62)), odd.entry(0x11A, 5, 1, struct.pack("<I", 68))]
EXIF = odd.exif(*TAGS, odd.entry(0x128, 3, 1, b"\2"), more=b"maker\0" + struct.pack("<II", 72, 1))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (14, 17, 4), np.uint8))
DEEP = odd.png(16, 2, struct.pack(">12H", *range(12)), 4, odd.chunk(b"tRNS", struct.pack(">3H", 3, 4, 5)))


def _pictures() -> dict[str, bytes]:
    rgb, grey, palette = NOISE.convert("RGB"), NOISE.convert("L"), NOISE.convert("RGB").quantize(16)
    text = odd.chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n9\n" + EXIF.hex().encode()))
    pngs = {
        "text.png": odd.png_with(text, odd.chunk(b"tEXt", b"a\0b"), file=odd.encoded(rgb)),
        "exif.png": odd.png_with(odd.chunk(b"eXIf", EXIF), file=odd.encoded(rgb, icc_profile=b"profile" * 9)),
        "palette.png": odd.encoded(palette, transparency=bytes(range(0, 160, 10))),
        "grey.png": odd.encoded(grey, transparency=7),
        "deep.png": DEEP,
        "moving.png": odd.encoded(rgb, save_all=True, append_images=[rgb.rotate(90)]),
    }
    jpegs = {
        "exif.jpg": odd.jpeg_with((0xE1, b"Exif\0\0" + EXIF), file=odd.encoded(rgb, "JPEG")),
        "scans.jpg": odd.encoded(rgb, "JPEG", progressive=True, icc_profile=b"profile" * 99, comment="text"),
        "cmyk.jpg": odd.encoded(rgb.convert("CMYK"), "JPEG", exif=EXIF),
        "two.jpg": odd.encoded(rgb, "MPO", save_all=True, append_images=[grey], exif=EXIF),
    }
    others = {
        "exif.webp": odd.encoded(rgb, "WEBP", exif=EXIF, xmp=b'tiff:Orientation="6"'),
        "alpha.webp": odd.encoded(NOISE, "WEBP", lossless=True),
        "moving.webp": odd.encoded(NOISE, "WEBP", save_all=True, append_images=[NOISE.rotate(90)]),
        "moving.gif": odd.encoded(palette, "GIF", save_all=True, append_images=[palette.rotate(90)], transparency=2),
        "palette.bmp": odd.encoded(palette, "BMP"),
    }
    return pngs | jpegs | others


PICTURES = _pictures()


def _checksums(data: bytearray) -> None:
    """Makes those of a PNG's chunks right again: damage goes on to what is behind them."""
    start = 8
    while start + 12 <= len(data):
        stop = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if stop > len(data):
            return
        data[stop - 4 : stop] = struct.pack(">I", zlib.crc32(data[start + 4 : stop - 4]))
        start = stop


def _damage(data: bytearray, draw: random.Random) -> None:
    # The EXIF data and the head more often than the rest.
    first, size = draw.choice([(max(0, data.find(EXIF[:16])), len(EXIF)), (0, 60), (0, 250), (0, len(data))])
    for _ in range(draw.randrange(1, 6)):
        data[draw.randrange(first, min(first + size, len(data)))] = draw.choice(
            [draw.randrange(256), draw.randrange(16), 255]
        )
    if draw.random() < 0.1:
        del data[draw.randrange(1, len(data)) :]
    if draw.random() < 0.2:
        start, at = draw.randrange(len(data)), draw.randrange(len(data))
        data[at:at] = data[start : start + draw.randrange(100)]  # a part of it once more
    if data.startswith(b"\x89PNG") and draw.random() < 0.8:
        _checksums(data)


def damaged(seed: int, name: str) -> Iterator[bytes]:
    draw = random.Random(f"{seed} {name}")
    while True:
        data = bytearray(PICTURES[name])
        _damage(data, draw)
        yield bytes(data)


def attempt(data: bytes) -> bool:
    """Whether a damaged picture was read; anything but the picture or the one error raises."""
    start = time.monotonic()
    try:
        image = images.load(data, 8, "it", lambda what, name: None)
    except DataError as error:
        assert re.fullmatch(r"it: [^\n]+", str(error)) and len(str(error)) < 500, str(error)
        return False
    finally:
        assert time.monotonic() - start < MOST_SECONDS
    assert image.shape == (8, 8, 3) and image.dtype == np.uint8
    return True


def run(seed: int, name: str, count: int) -> int:
    """How many of `count` damaged copies of a picture were read."""
    copies = damaged(seed, name)
    return sum(attempt(next(copies)) for _ in range(count))


if __name__ == "__main__":
    images.MAX_PIXELS = 1 << 20  # what damage makes large is right to take its time
    for name in PICTURES:
        print(name, run(int(sys.argv[1]), name, int(sys.argv[2])))
    print("peak", peak())
