"""Single records of a shard that is not on this machine: where they are in its file, and how to read their bytes.

array_record reads files only. But our shards have one record in each chunk, all of the same size and not compressed.
So the place of a record follows from its number. The file is a sequence of chunks. A header of 24 bytes is inserted
at every multiple of 64 KiB. (github.com/google/riegeli, doc/riegeli_records_file_format.md, describes the format.)
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

WRITER = "group_size:1,uncompressed"  # the options with which `shards` writes: one record in a chunk
_READER = "readahead_buffer_size:0,max_parallelism:0"  # for random access
_BLOCK, _BLOCK_HEADER = 1 << 16, 24  # bytes
_CHUNK_HEADER = 40  # bytes; the first chunk of a file is only a header


class Records:
    """Records of one size, each from the bytes of its chunk. It is thread-safe."""

    def __init__(self, size: int) -> None:
        """Prepares to read records.

        Args:
          size: bytes of a record.

        Raises:
          OSError: a temporary file cannot be written.
        """
        self._size = size
        varint = -(-size.bit_length() // 7)  # bytes of a number that is written with 7 bits in a byte
        # Before the record itself come the kind of compression, the length of the list of sizes, and that list.
        self._chunk = _CHUNK_HEADER + 2 + varint + size
        with tempfile.TemporaryDirectory(prefix="hcflow-") as folder:
            path = os.path.join(folder, "one")
            writer = array_record_module.ArrayRecordWriter(path, WRITER)
            writer.write(bytes(size))
            writer.close()
            self._one = Path(path).read_bytes()  # a whole file, of one record

    def span(self, index: int) -> tuple[int, int]:
        """The bytes [start, stop) of a shard's file that contain a record."""
        start = _CHUNK_HEADER + index * self._chunk
        return _place(start), _place(start + self._chunk - 1) + 1

    def read(self, content: bytes, index: int) -> bytes:
        """Reads a record; array_record checks its checksums.

        Args:
          content: the bytes of `span(index)`.
          index: the number of the record in its shard.

        Raises:
          ValueError: the bytes are not a whole record.
        """
        start, stop = self.span(index)
        if len(content) != stop - start:
            raise ValueError(f"{len(content)} bytes instead of {stop - start}")
        chunk = b"".join(content[first - start : last - start] for first, last in pieces(start, stop))
        # array_record gets a file whose only record is this one.
        file, place = bytearray(self._one), 0
        for first, last in pieces(*self.span(0)):
            file[first:last] = chunk[place : place + last - first]
            place += last - first
        try:
            with _as_file(file) as path:
                reader = array_record_module.ArrayRecordReader(path, _READER, file_reader_buffer_size=1 << 15)
                record = reader.read([0])[0]
                reader.close()
        except (RuntimeError, IndexError) as error:
            raise ValueError(str(error).splitlines()[0]) from error
        if len(record) != self._size:
            raise ValueError(f"a record of {len(record)} bytes instead of {self._size}")
        return record


def _place(byte: int) -> int:
    """Where a byte of the chunks is in the file, which also has the headers of the blocks."""
    return byte + _BLOCK_HEADER * (byte // (_BLOCK - _BLOCK_HEADER) + 1)


def pieces(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The parts of [start, stop) between the headers of the blocks. The start is not in a header."""
    while start < stop:
        end = min(stop, (start // _BLOCK + 1) * _BLOCK)
        yield start, end
        start = end + _BLOCK_HEADER


@contextmanager
def _as_file(content: bytes | bytearray) -> Iterator[str]:
    """A file with this content, in memory where the system can do that."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("hcflow")
        try:
            with open(number, "wb", closefd=False) as file:
                file.write(content)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
    else:
        with tempfile.NamedTemporaryFile(prefix="hcflow-") as file:
            file.write(content)
            file.flush()
            yield file.name
