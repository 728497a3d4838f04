"""Writes PyTorch's zip format without PyTorch: a dict of float32 arrays, which `torch.load` reads as tensors."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

VERSION = b"3\n"  # the version of the format

# Instructions of pickle protocol 2, as `pickletools` describes them.
_START, _STOP = b"\x80\x02", b"."
_MARK, _TUPLE, _EMPTY_TUPLE, _SETITEMS = b"(", b"t", b")", b"u"
_CALL, _STORAGE_OF = b"R", b"Q"
_FALSE, _NONE = b"\x89", b"N"
_ORDERED_DICT = b"ccollections\nOrderedDict\n"
_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
_FLOAT = b"ctorch\nFloatStorage\n"


def write(path: Path, flat: Mapping[str, np.ndarray]) -> None:
    """Writes a file.

    Args:
      path: the path of the file.
      flat: name -> array, float32.

    Raises:
      OSError: the file cannot be written.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr(_entry("data.pkl"), _pickle(flat))
        file.writestr(_entry("byteorder"), b"little")
        for key, array in enumerate(flat.values()):
            file.writestr(_entry(f"data/{key}"), np.ascontiguousarray(array, "<f4").tobytes())
        file.writestr(_entry("version"), VERSION)


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"archive/{name}")  # it has a fixed date, so the same model gives the same file


def _pickle(flat: Mapping[str, np.ndarray]) -> bytes:
    """The pickle of an ordered dict of tensors. The storage of tensor i is the entry data/i."""
    made = io.BytesIO()
    made.write(_START + _ORDERED_DICT + _EMPTY_TUPLE + _CALL + _MARK)
    for key, (name, array) in enumerate(flat.items()):
        strides = [stride // 4 for stride in np.empty(array.shape, np.float32).strides]
        storage = _MARK + _text("storage") + _FLOAT + _text(str(key)) + _text("cpu") + _int(array.size) + _TUPLE
        hooks = _ORDERED_DICT + _EMPTY_TUPLE + _CALL
        parts = (storage, _STORAGE_OF, _int(0), _ints(array.shape), _ints(strides), _FALSE, hooks)
        made.write(_text(name) + _REBUILD + _MARK + b"".join(parts) + _TUPLE + _CALL)
    made.write(_SETITEMS + _STOP)
    return made.getvalue()


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _int(number: int) -> bytes:
    content = number.to_bytes(8, "little", signed=True)
    return b"\x8a\x08" + content


def _ints(numbers: object) -> bytes:
    return _MARK + b"".join(_int(n) for n in numbers) + _TUPLE  # pyright: ignore
