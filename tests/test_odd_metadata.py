"""Metadata decides no pixel: odd, large or damaged, it neither refuses a picture nor takes memory."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import odd_pictures as odd
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from hcflow_jax.data import DataError, images, jpeg

KINDS = ("PNG", "JPEG", "WEBP")


def _load(data: bytes) -> np.ndarray:
    return images.load(data, 32, "it", lambda what, name: None)


def _upright(data: bytes, orientation: int) -> np.ndarray:
    """What the picture is to become, by Pillow's own turning of a picture with plain EXIF."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = image.convert("RGB")
    pixels.getexif()[0x112] = orientation
    return np.asarray(images.to_square(ImageOps.exif_transpose(pixels), 32))


ODD_TAGS = [
    odd.entry(0x11A, 7, 4, b"72 d"),  # the resolution as bytes of no type
    odd.entry(0x10F, 5, 1, struct.pack("<I", 38)),  # the maker as a fraction
    odd.entry(0x128, 2, 3, b"in\0"),  # a unit as text
    odd.entry(0x11A, 5, 1, struct.pack("<I", 1 << 30)),  # an offset behind the end
    odd.entry(0x9999, 99, 1 << 31, b"\xff" * 4),  # a type that does not exist
    odd.entry(0x8769, 4, 1, struct.pack("<I", 8)),  # a directory that is this one
]


@pytest.mark.situation("the EXIF of a picture says that it is turned, and another of its tags is odd or damaged")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tag", ODD_TAGS, ids=range(len(ODD_TAGS)))
def test_odd_tags_turn_the_picture(kind, tag):
    plain = odd.with_exif(kind, odd.exif())
    for orientation in range(2, 9):
        found = odd.exif(*sorted([odd.turned(orientation), tag]), more=struct.pack("<II", 1, 2))
        np.testing.assert_array_equal(_load(odd.with_exif(kind, found)), _upright(plain, orientation))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "form"), [(1, "B"), (3, "H"), (4, "I"), (8, "h"), (9, "i")])
def test_orientation_of_any_whole_type(order, kind, form):
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HIH", 42, 8, 1)
    value = struct.pack(f"{order}{form}", 6).ljust(4, b"\0")
    data = head + struct.pack(f"{order}HHI", 0x112, kind, 1) + value
    for exif in (data, b"Exif\0\0" + data):
        file = odd.with_exif("PNG", exif)
        np.testing.assert_array_equal(_load(file), _upright(odd.encoded(), 6))


def test_orientation_that_lies_elsewhere():
    data = odd.exif(odd.entry(0x112, 3, 3, struct.pack("<I", 26)), more=struct.pack("<3H", 3, 9, 9))
    np.testing.assert_array_equal(_load(odd.with_exif("JPEG", data)), _upright(odd.encoded(kind="JPEG"), 3))


@pytest.mark.situation("EXIF that cannot be read: garbage, cut off, or an orientation that does not exist")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "data",
    [b"\x07", b"garbage" * 9, odd.exif(odd.turned(6))[:-15], odd.exif(odd.turned(0)), odd.exif(odd.turned(999)),
     b"II*\0\xff\xff\xff\xff", odd.exif(odd.entry(0x112, 2, 4, b"6\0\0\0")), odd.exif(odd.entry(0x112, 3, 0, b""))],
    ids=range(8),
)  # fmt: skip
def test_unreadable_exif_turns_nothing(kind, data):
    np.testing.assert_array_equal(_load(odd.with_exif(kind, data)), _upright(odd.with_exif(kind, odd.exif()), 1))


def test_exif_in_several_segments():
    data = odd.exif(odd.entry(0x10F, 2, 4, b"abc"), odd.turned(8))
    file = odd.jpeg_with((0xE1, b"Exif\0\0" + data[:12]), (0xFE, b"comment"), (0xE1, b"Exif\0\0" + data[12:]))
    np.testing.assert_array_equal(_load(file), _upright(odd.encoded(kind="JPEG"), 8))


def test_junk_between_segments():
    file = odd.jpeg_with((0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"), (0xE1, b"Exif\0\0" + odd.exif(odd.turned(6))))
    with_junk = file[:20] + b"junk\xff\x00\xff\xff" + file[20:]
    np.testing.assert_array_equal(_load(with_junk), _upright(odd.encoded(kind="JPEG"), 6))


XMP = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def test_xmp_turns_what_exif_does_not():
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", (XMP % 6).decode(), zip=True)
    np.testing.assert_array_equal(_load(odd.encoded(pnginfo=text)), _upright(odd.encoded(), 6))
    for kind in ("JPEG", "WEBP"):
        plain, file = odd.encoded(kind=kind, quality=90), odd.encoded(kind=kind, quality=90, xmp=XMP % 6)
        np.testing.assert_array_equal(_load(file), _upright(plain, 6))
    both = odd.jpeg_with((0xE1, b"Exif\0\0" + odd.exif(odd.turned(3))), file=odd.encoded(kind="JPEG", xmp=XMP % 6))
    np.testing.assert_array_equal(_load(both), _upright(odd.encoded(kind="JPEG"), 3))


@pytest.mark.parametrize("packed", [True, False])
def test_exif_as_text_turns(packed):
    text = PngImagePlugin.PngInfo()
    data = odd.exif(odd.turned(6))
    text.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n", zip=packed)
    np.testing.assert_array_equal(_load(odd.encoded(pnginfo=text)), _upright(odd.encoded(), 6))
    text.add_text("Raw profile type exif", "\nexif\n8\nno hexadecimal\n")
    np.testing.assert_array_equal(_load(odd.encoded(pnginfo=text)), _upright(odd.encoded(), 1))


def _zeros(size: int) -> bytes:
    return zlib.compress(bytes(size))


LARGE = {
    "zTXt": odd.chunk(b"zTXt", b"workflow\0\0" + _zeros(2 << 20)),
    "iTXt": odd.chunk(b"iTXt", b"workflow\0\1\0\0\0" + _zeros(2 << 20)),
    "tEXt": odd.chunk(b"tEXt", b"workflow\0" + b"x" * (65 << 20)),
    "iCCP": odd.chunk(b"iCCP", b"profile\0\0" + _zeros(2 << 20)),
    "iCCP of another method": odd.chunk(b"iCCP", b"profile\0\7" + b"x"),
    "XMP": odd.chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _zeros(2 << 20)),
    "EXIF as text": odd.chunk(b"zTXt", b"Raw profile type exif\0\0" + _zeros(2 << 20)),
    "text of no kind": odd.chunk(b"zTXt", b""),
    "text that is no text": odd.chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0no zlib"),
    "time and background": odd.chunk(b"tIME", b"") + odd.chunk(b"bKGD", b"") + odd.chunk(b"gAMA", b"1"),
    "wrong checksum": odd.chunk(b"tEXt", b"a\0b")[:-1] + b"\0",
}


@pytest.mark.situation("a PNG with text or a colour profile of any size, or with damaged text, profile, time or eXIf")
@pytest.mark.parametrize("what", LARGE)
@pytest.mark.parametrize("place", ["before", "after"])
def test_what_a_png_carries_besides(what, place):
    file = odd.encoded()
    at = 33 if place == "before" else len(file) - 12
    np.testing.assert_array_equal(_load(file[:at] + LARGE[what] + file[at:]), _upright(file, 1))


@pytest.mark.situation("a JPEG with damaged application segments, or whose second picture is missing")
@pytest.mark.parametrize(
    "segment",
    [(0xE2, b"MPF\0garbage"), (0xE2, b"MPF\0" + odd.exif(odd.entry(0xB001, 4, 1, b"\2"))), (0xE2, b"ICC_PROFILE\0"),
     (0xED, b"Photoshop 3.0\x008BIM\xff\xff\xff"), (0xE1, b""), (0xEC, b"Ducky"), (0xFE, b"\xff\xda" * 600)],
    ids=range(7),
)  # fmt: skip
def test_what_a_jpeg_carries_besides(segment):
    np.testing.assert_array_equal(_load(odd.jpeg_with(segment)), _upright(odd.encoded(kind="JPEG"), 1))


@pytest.mark.situation(
    "metadata that would take much memory or time: EXIF entries that share their data, thousands of scans"
)
@pytest.mark.parametrize("kind", KINDS)
def test_exif_takes_no_memory(kind):
    count, size = 2500, 30_000
    entries = [odd.entry(tag, 7, size, struct.pack("<I", 8)) for tag in range(0x8000, 0x8000 + count)]
    file = odd.with_exif(kind, odd.exif(odd.turned(6), *entries))  # 75 MB if each entry gets what it claims
    _load(odd.with_exif(kind, odd.exif()))
    tracemalloc.start()
    try:
        pixels = _load(file)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(pixels, _upright(odd.with_exif(kind, odd.exif()), 6))


def test_many_scans_are_refused():
    file = odd.encoded(kind="JPEG", progressive=True)
    last = file.rindex(b"\xff\xda")
    end = len(file) - 2
    for more, refused in ((jpeg.MOST_SCANS // 2, False), (jpeg.MOST_SCANS, True)):
        many = file[:end] + file[last:end] * more + file[end:]
        if refused:
            with pytest.raises(DataError, match=r"^it: cannot be read as a picture \(\d+ scans, of 500 at most\)"):
                _load(many)
        else:
            _load(many)
    appended = file + b"\xff\xda" * 600  # a film behind the picture
    np.testing.assert_array_equal(_load(appended), _load(file))
