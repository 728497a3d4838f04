"""Records by their place in a shard: the same as array_record reads them from the file, or refused."""

import os

import numpy as np
import pytest
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from hcflow_jax.data.records import WRITER, Records

# Records that are shorter than a block of the file, about as long, and several blocks long; sizes whose number takes
# one byte to three; and so many that chunks begin before, in and after a block's header would be.
SETS = [(3, 30), (192, 1500), (12288, 20), (65512 - 45, 5), (49152, 30), (196608, 7)]


def _write(path, size: int, count: int) -> list[bytes]:
    rng = np.random.default_rng(size)
    images = [rng.bytes(size) for _ in range(count)]
    writer = array_record_module.ArrayRecordWriter(str(path), WRITER)
    for image in images:
        writer.write(image)
    writer.close()
    return images


def _bytes(path, records: Records, index: int) -> bytes:
    start, stop = records.span(index)
    return path.read_bytes()[start:stop]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(("size", "count"), SETS)
def test_every_record_is_where_it_should_be(tmp_path, monkeypatch, size, count, in_memory):
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    images, records = _write(tmp_path / "shard", size, count), Records(size)
    chosen = range(count) if size > 192 else [*range(5), *range(count - 300, count, 7)] if count > 300 else range(5)
    for index in chosen:
        assert records.read(_bytes(tmp_path / "shard", records, index), index) == images[index], index


def test_any_changed_byte_is_found(tmp_path):
    _write(tmp_path / "shard", 192, 3)
    records = Records(192)
    whole = _bytes(tmp_path / "shard", records, 1)
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1
        with pytest.raises(ValueError):
            records.read(bytes(content), 1)


def test_other_bytes_are_no_record(tmp_path):
    _write(tmp_path / "shard", 192, 3)
    records = Records(192)
    whole = _bytes(tmp_path / "shard", records, 1)
    with pytest.raises(ValueError, match="235 bytes instead of 236"):
        records.read(whole[:-1], 1)
    with pytest.raises(ValueError):
        records.read(bytes(len(whole)), 1)
