"""Pictures that are odd: each is converted the same way and said, or refused in one line that names it."""

import io
import logging
import re
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from hcflow_jax.data import DataError, images


def _encode(image: Image.Image, kind: str, **kwargs) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **kwargs)
    return file.getvalue()


def _load(data: bytes, resolution: int = 4):
    """The picture, and what was said of it."""
    said: list[tuple[str, str]] = []
    image = images.load(data, resolution, "it", lambda what, name: said.append((what, name)))
    assert image.shape == (resolution, resolution, 3) and image.dtype == np.uint8
    assert all(name == "it" for _, name in said)
    return image, [what for what, _ in said]


def _flat(mode: str, value, size=(4, 4)) -> Image.Image:
    return Image.new(mode, size, value)


def _png(width: int, height: int, bits: int = 8, colour: int = 2, rows: bytes = b"") -> bytes:
    """A PNG whose header says what it likes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_nothing_is_said_of_a_plain_picture():
    for kind in ("PNG", "JPEG", "WEBP"):
        assert _load(_encode(_flat("RGB", (9, 9, 9), (8, 5)), kind))[1] == []
    assert _load(_encode(_flat("RGBA", (9, 9, 9, 255)), "PNG"))[1] == []  # opaque: nothing shines through


@pytest.mark.parametrize(
    ("mode", "value", "kind", "expected"),
    [
        ("L", 7, "PNG", [images.GREY]),
        ("1", 1, "PNG", [images.GREY]),
        ("P", 1, "PNG", [images.PALETTE]),
        ("LA", (7, 9), "PNG", [images.GREY, images.TRANSPARENT]),
        ("RGBA", (7, 9, 9, 0), "WEBP", [images.TRANSPARENT]),
        ("CMYK", (1, 2, 3, 4), "JPEG", [images.CMYK]),
        ("I;16", 7, "PNG", [images.DEEP, images.GREY]),
    ],
)
def test_conversions_are_said(mode, value, kind, expected):
    assert _load(_encode(_flat(mode, value), kind))[1] == expected


def test_sixteen_bits_a_colour():
    rows = b"".join(b"\0" + struct.pack(">3H", 0x10FF, 0x8000, 0xFFFF) * 4 for _ in range(4))
    image, said = _load(_png(4, 4, bits=16, rows=rows))
    assert image[0, 0].tolist() == [0x10, 0x80, 0xFF] and said == [images.DEEP]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_first_frame_of_an_animation(kind):
    red, blue = _flat("RGB", (255, 0, 0)), _flat("RGB", (0, 0, 255))
    options = {"lossless": True} if kind == "WEBP" else {}
    image, said = _load(_encode(red, kind, save_all=True, append_images=[blue], **options))
    assert image[1, 1].tolist() == [255, 0, 0] and said[0] == images.FIRST_FRAME


def test_smaller_is_enlarged_and_said():
    image, said = _load(_encode(_flat("RGB", (10, 200, 30), (1, 1)), "PNG"), 16)
    assert (image == [10, 200, 30]).all() and said == [images.ENLARGED]
    assert _load(_encode(_flat("RGB", (9, 9, 9), (100, 15)), "PNG"), 16)[1] == [images.ENLARGED]
    assert _load(_encode(_flat("RGB", (9, 9, 9), (100, 16)), "PNG"), 16)[1] == []


def test_content_decides_and_not_the_name(tmp_path):
    (tmp_path / "really_jpeg.png").write_bytes(_encode(_flat("RGB", (90, 90, 90)), "JPEG"))
    assert images.load(tmp_path / "really_jpeg.png", 4, "it")[0, 0].tolist() == [90, 90, 90]
    (tmp_path / "text.jpg").write_text("no picture at all")
    with pytest.raises(DataError, match=r"^it: cannot be read as a picture \(of no known format\); repair or"):
        images.load(tmp_path / "text.jpg", 4, "it")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n"  # Pillow would start Ghostscript
    with pytest.raises(DataError, match="of no known format"):
        images.load(script, 4, "it")


def test_empty_is_called_empty(tmp_path):
    (tmp_path / "a.png").touch()
    for file in (tmp_path / "a.png", b""):
        with pytest.raises(DataError, match=r"^it: is empty; repair or remove it$"):
            images.load(file, 4, "it")
    with pytest.raises(DataError, match=r"^it: cannot be read as a picture \(no such file\)"):
        images.load(tmp_path / "b.png", 4, "it")


@pytest.mark.parametrize("side", [9_460, 13_000, 20_000])  # above ours; where Pillow warns; where it raises
def test_decompression_bomb_is_refused(side):
    with pytest.raises(DataError, match=r"^it: too large \(.*pixels.*, of 89478485 at most\); shrink") as error:
        images.load(_png(side, side), 4, "it")
    assert "\n" not in str(error.value)


def test_no_warning_leaks():
    code = (
        "import sys; from hcflow_jax.data import images\n"
        "try: images.load(sys.stdin.buffer.read(), 4, 'it')\n"
        "except ValueError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], input=_png(10_000, 10_000), capture_output=True, check=True)
    assert b"10000 x 10000 pixels" in run.stdout and not run.stderr


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_cut_anywhere(kind):
    """Whatever a decoder raises (of a GIF's second frame IndexError, struct.error) comes out as the one error."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    whole, refused = _encode(picture, kind, save_all=True, append_images=[picture.rotate(90)]), 0
    for stop in range(len(whole)):
        try:
            images.load(whole[:stop], 4, "it", lambda what, name: None)
        except DataError as error:
            refused += re.fullmatch(r"it: [^\n]+", str(error)) is not None
    assert refused > len(whole) / 3


def test_each_kind_is_said_once(caplog, monkeypatch):
    monkeypatch.setattr(images, "_said", set())
    with caplog.at_level(logging.WARNING):
        threads = [threading.Thread(target=images.say_once, args=(images.GREY, f"{i}.png")) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        images.load(_encode(_flat("CMYK", 0), "JPEG"), 4, "a.jpg")
        images.load(_encode(_flat("CMYK", 0), "JPEG"), 4, "b.jpg")
    grey, cmyk = caplog.messages
    assert re.fullmatch(r"\d\.png: grey, made RGB by repeating it \(said once\)", grey)
    assert cmyk == "a.jpg: CMYK, made RGB without a colour profile (said once)"
