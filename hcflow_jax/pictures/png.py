"""Writes PNG files, whole or a few lines at a time, with an optional text inside the file."""

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin

from hcflow_jax import paths
from hcflow_jax.errors import InputError
from hcflow_jax.files import write

Sheet = UInt8[np.ndarray, "H W 3"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"  # the whole last chunk
_KEYWORD = "hcflow"  # the keyword of the text
_LINES = 64  # number of lines that are filtered at once


def save_png(path: str | Path, array: Sheet, about: str | None = None) -> None:
    """Writes a PNG. The file is replaced in one step, and missing folders are made.

    Args:
      path: the file to write.
      array: (H, W, 3) uint8.
      about: a text to store in the file, which `text_of` reads; None: no text.

    Raises:
      InputError: the values are not uint8.
      OSError: the file cannot be written.
    """
    array = np.asarray(array)
    if array.dtype != np.uint8:
        raise InputError(f"{path}: expected uint8 values, got {array.dtype}")
    text = PngImagePlugin.PngInfo()
    if about is not None:
        text.add_text(_KEYWORD, about)
    write(paths.local(path), lambda file: Image.fromarray(array).save(file, "PNG", pnginfo=text))


def text_of(path: str | Path) -> str | None:
    """The text that `save_png` stored in a file. None: no file, not a complete PNG, or no text."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            file.seek(-len(_END), os.SEEK_END)
            if file.read() != _END:
                return None
            file.seek(0)
            with Image.open(file, formats=["PNG"]) as picture:
                return picture.info.get(_KEYWORD)
    except Exception:  # a damaged file can make Pillow raise many kinds of errors
        return None


def stream_png(path: str | Path, width: int, height: int, blocks: Iterable[Sheet], about: str | None = None) -> None:
    """Writes a PNG block by block, so that memory does not grow with its height. Missing folders are made.

    Args:
      path: the file to write.
      width, height: the size of the picture, pixels.
      blocks: blocks of lines (h, width, 3) uint8, from top to bottom. The sum of their heights is `height`. A block
        is taken from the iterable after the blocks before it are written.
      about: as in `save_png`.

    Raises:
      InputError: a block has another width or dtype, or the sum of the heights is wrong.
      OSError: the file cannot be written.
    """

    def save(file: BinaryIO) -> None:
        file.write(_SIGNATURE)
        file.write(_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)))
        if about is not None:
            file.write(_chunk(b"tEXt", f"{_KEYWORD}\0{about}".encode("latin-1")))
        compressor, above, done = zlib.compressobj(), np.zeros((1, width, 3), np.uint8), 0
        for block in blocks:
            if block.dtype != np.uint8 or block.shape[1:] != (width, 3):
                raise InputError(f"{path}: a block is {block.dtype} {block.shape}, not uint8 (h, {width}, 3)")
            for start in range(0, len(block), _LINES):
                lines = block[start : start + _LINES]
                file.write(_chunk(b"IDAT", compressor.compress(_filtered(lines, above))))
                above = lines[-1:]
            done += len(block)
        if done != height:
            raise InputError(f"{path}: blocks have {done} lines together, not {height}")
        file.write(_chunk(b"IDAT", compressor.flush()))
        file.write(_END)

    write(paths.local(path), save)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _filtered(lines: Sheet, above: Sheet) -> bytes:
    """Applies PNG's filters: differences to neighbouring pixels. Each line gets the filter with the smallest sum."""
    up = np.concatenate([above, lines[:-1]])
    left = np.zeros_like(lines)
    left[:, 1:] = lines[:, :-1]
    mean = (left.astype(np.uint16) + up) // 2
    choices = [lines, lines - left, lines - up, lines - mean.astype(np.uint8)]  # the filters 0 to 3, modulo 256
    sums = np.stack([np.abs(each.view(np.int8).astype(np.int16)).sum((1, 2), dtype=np.int64) for each in choices])
    best = sums.argmin(0)
    rows = np.stack(choices).reshape(len(choices), len(lines), -1)[best, np.arange(len(lines))]
    return np.concatenate([best[:, None].astype(np.uint8), rows], 1).tobytes()
