"""Reads PyTorch's zip format without PyTorch: it has one pickle, and an uncompressed member for every storage.

NAME/data.pkl    the object: tensors and plain values
NAME/data/KEY    the storage KEY: its elements, little-endian
NAME/code/...    only in TorchScript programs, which are refused
"""

import struct
import zipfile
from pathlib import Path

from hcflow_jax.unpickle import restricted
from hcflow_jax.unpickle.source import Source, UnpickleError, shown
from hcflow_jax.unpickle.stream import Found, Stream

MEMBERS = 100_000  # the largest number of members; a network has a few thousand

_PICKLE = "data.pkl"
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., lengths of the name and of the extra field


def read_archive(path: str | Path) -> Stream:
    """Reads a file that `torch.save` wrote.

    Raises:
      OSError: the file cannot be read.
      UnpickleError: the file is cut short or damaged, is a TorchScript program, or contains other things than tensors
        and plain values.
    """
    source = Source(path)
    members = _members(path)
    name = next((name for name in members if name.endswith("/" + _PICKLE)), None)
    if name is None:
        raise UnpickleError(f"it has no {_PICKLE}: it is a zip file, but not one of PyTorch's")
    prefix = name.removesuffix(_PICKLE)
    if any(other.startswith(prefix + "code/") for other in members):
        raise UnpickleError("it is a TorchScript program, which would have to be run; refused")
    order = members.get(prefix + "byteorder")
    if order and source.bytes[slice(*_span(source, order))] != b"little":
        raise UnpickleError("it was written on a machine that is not little-endian")
    found = Found(source, views=False)
    start, _ = _span(source, members[name])
    source.seek(start)
    root = restricted.load(source, found.persistent)
    places = {}
    for key, storage in found.storages.items():
        member = members.get(f"{prefix}data/{key}")
        if member is None:
            raise UnpickleError(f"storage {shown(key)} is not in the file: it is damaged")
        places[key], end = _span(source, member)
        if end - places[key] != storage.count * storage.dtype.itemsize:
            raise UnpickleError(f"storage {shown(key)} does not have the size that its tensors need: it is damaged")
    return Stream(root, places, source)


def _members(path: str | Path) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # NotImplementedError: a newer zip format
        raise UnpickleError(f"it is not a complete zip file ({error}): it is cut short or damaged") from None
    if len(listed) > MEMBERS:
        raise UnpickleError(f"it has {len(listed)} members, more than any network")
    return {member.filename: member for member in listed}


def _span(source: Source, member: zipfile.ZipInfo) -> tuple[int, int]:
    """The positions in the file where the bytes of a member begin and end."""
    what = shown(member.filename)
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        raise UnpickleError(f"{what} is compressed or encrypted, which PyTorch's files are not")
    header = source.bytes[member.header_offset : member.header_offset + _LOCAL_HEADER.size]
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
        raise UnpickleError(f"{what} has no header where one should be: the file is damaged")
    _, name, extra = _LOCAL_HEADER.unpack(header)
    start = member.header_offset + _LOCAL_HEADER.size + name + extra
    end = start + member.file_size
    if end > len(source.bytes):
        raise UnpickleError(f"{what} goes on after the end of the file: it is cut short")
    return start, end


def is_archive(start: bytes) -> bool:
    """Whether a file with these first bytes is a zip file."""
    return start[:4] == b"PK\x03\x04"
