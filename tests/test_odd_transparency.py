"""Transparency is laid over white in every mode that has it, and the pixels beside it stay as they are."""

import struct

import numpy as np
import odd_pictures as odd
import pytest
from PIL import Image

from hcflow_jax.data import images


def _load(data: bytes, size: int = 4):
    said: list[str] = []
    return images.load(data, size, "it", lambda what, name: said.append(what)), said


def _key(*values: int) -> bytes:
    return odd.chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


# bits, colour type, a row of four pixels of which the first is clear, the clear colour, the second pixel
KEYED = {
    "1-bit grey": (1, 0, b"\x70", (0,), 255),
    "2-bit grey": (2, 0, b"\x6c", (1,), 170),
    "4-bit grey": (4, 0, b"\x12\x34", (1,), 34),
    "8-bit grey": (8, 0, b"\x0a\x0b\x0c\x0d", (10,), 11),
    "16-bit grey": (16, 0, struct.pack(">4H", 1000, 1001, 50000, 60000), (1000,), 4),
    "8-bit RGB": (8, 2, b"\x01\x02\x03\x01\x02\x04" + bytes(6), (1, 2, 3), [1, 2, 4]),
    "16-bit RGB": (16, 2, struct.pack(">12H", *[1000] * 3, 1000, 1000, 1001, *[0] * 6), (1000,) * 3, [3, 3, 3]),
    "4-bit grey, upper bits set": (4, 0, b"\x12\x34", (0xFF01,), 34),
    "8-bit RGB, upper bits set": (8, 2, b"\x01\x02\x03\x01\x02\x04" + bytes(6), (0x101, 2, 3), [1, 2, 4]),
}


@pytest.mark.situation("a PNG whose transparency is a colour, of any depth, grey or RGB, or of a wrong length")
@pytest.mark.parametrize("what", KEYED)
def test_a_colour_that_is_transparent(what):
    bits, colour, row, key, second = KEYED[what]
    image, said = _load(odd.png(bits, colour, row, 4, _key(*key)))
    assert (image[:, 0] == 255).all() and (image[:, 1] == second).all() and images.TRANSPARENT in said
    opaque, said = _load(odd.png(bits, colour, row, 4))
    np.testing.assert_array_equal(image[:, 1:], opaque[:, 1:])
    assert (opaque[:, 0] != 255).any() and images.TRANSPARENT not in said


@pytest.mark.parametrize("orientation", [1, 6])
def test_transparent_colour_of_an_interlaced_deep_picture_that_is_turned(orientation):
    pixels = np.random.default_rng(0).integers(0, 3, (8, 8, 3)) * 0x101 + 0x1000
    pixels[0, 0] = 0x1000, 0x1101, 0x1202
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = b"".join(b"\0" + line.astype(">u2").tobytes() for y, x, dy, dx in passes for line in pixels[y::dy, x::dx])
    header = odd.chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 1))
    file = b"\x89PNG\r\n\x1a\n" + header + _key(0x1000, 0x1101, 0x1202)
    file += odd.chunk(b"eXIf", odd.exif(odd.turned(orientation)))
    file += odd.chunk(b"IDAT", odd.zlib.compress(rows)) + odd.chunk(b"IEND", b"")
    clear = (pixels == pixels[0, 0]).all(-1)
    expected = np.where(clear[..., None], 255, pixels >> 8).astype(np.uint8)
    np.testing.assert_array_equal(_load(file, 8)[0], np.rot90(expected, -1) if orientation == 6 else expected)


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\x0a\0"])
def test_a_transparent_colour_of_a_wrong_length(body):
    image, said = _load(odd.png(8, 0, b"\x0a\x0b\x0c\x0d", 4, odd.chunk(b"tRNS", body)))
    assert image[0, 0].tolist() == ([255] * 3 if len(body) > 1 else [10] * 3)
    assert (images.TRANSPARENT in said) == (len(body) > 1)


@pytest.mark.situation("an alpha channel, premultiplied or not, of grey, RGB or a palette, with 8 or 16 bits")
@pytest.mark.parametrize(
    ("mode", "clear", "half", "opaque", "expected"),
    [
        ("LA", (9, 0), (0, 51), (9, 255), [204, 9]),
        ("La", (0, 0), (0, 51), (9, 255), [204, 9]),
        ("RGBA", (9, 9, 9, 0), (0, 0, 0, 51), (9, 9, 9, 255), [204, 9]),
        ("RGBa", (0, 0, 0, 0), (0, 0, 0, 51), (9, 9, 9, 255), [204, 9]),
        ("PA", (1, 0), (0, 51), (1, 255), [204, 9]),
    ],
)
def test_modes_with_alpha(mode, clear, half, opaque, expected):
    image = Image.new(mode, (3, 1), clear)
    if mode == "PA":
        image.putpalette([0, 0, 0, 9, 9, 9])
    image.putpixel((1, 0), half)
    image.putpixel((2, 0), opaque)
    said: list[str] = []
    rgb = np.asarray(images.to_rgb(image, said.append))[0]
    assert (rgb[0] == 255).all() and (rgb[1:] == np.array(expected)[:, None]).all() and said[-1] == images.TRANSPARENT


@pytest.mark.parametrize("colour", [4, 6])
def test_sixteen_bits_with_alpha(colour):
    channels = {4: 1, 6: 3}[colour]
    row = struct.pack(f">{4 * (channels + 1)}H", *([30000] * channels + [0]), *([2560] * channels + [65535]) * 3)
    image, said = _load(odd.png(16, colour, row, 4))
    assert (image[:, 0] == 255).all() and (image[:, 1:] == 10).all() and images.TRANSPARENT in said


def _palette() -> Image.Image:
    image = Image.new("P", (4, 4), 2)
    image.putpalette([0, 0, 0, 9, 9, 9, 30, 60, 90])
    image.paste(1, (0, 0, 1, 4))
    return image


@pytest.mark.situation("a palette with transparent entries, in a PNG or a GIF; a WebP with transparency")
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("key", [1, b"\xff\x00\xff", b"\xff\x33"])
def test_palettes_of_a_png(bits, key):
    image = _palette()
    if bits == 1:
        image = image.point(lambda value: value - 1)
        image.putpalette([9, 9, 9, 30, 60, 90])
        key = key - 1 if isinstance(key, int) else key[1:]
    pixels, said = _load(odd.encoded(image, bits=bits, transparency=key))
    first = 255 if key != b"\x33" and key != b"\xff\x33" else 206  # a fifth of 9 over white
    assert (abs(pixels[:, 0].astype(int) - first) <= 1).all() and (pixels[:, 1] == [30, 60, 90]).all()
    assert images.TRANSPARENT in said


def test_gif_and_webp():
    image = _palette()
    for file in (
        odd.encoded(image, "GIF", transparency=1),
        odd.encoded(
            image, "GIF", transparency=1, save_all=True, append_images=[image.transpose(Image.Transpose.ROTATE_90)]
        ),
        odd.encoded(image.convert("L"), "GIF", transparency=9),
    ):
        pixels, said = _load(file)
        assert (pixels[:, 0] == 255).all() and (pixels[:, 1] < 100).all() and images.TRANSPARENT in said
    clear = Image.new("RGBA", (4, 4), (9, 9, 9, 0))
    clear.paste((10, 20, 30, 255), (1, 0, 4, 4))
    for options in ({}, dict(save_all=True, append_images=[Image.new("RGBA", (4, 4))])):
        pixels, said = _load(odd.encoded(clear, "WEBP", lossless=True, **options))
        assert (pixels[:, 0] == 255).all() and (pixels[:, 1] == [10, 20, 30]).all() and images.TRANSPARENT in said
