"""A file as a memory map that is read from front to back, and never beyond its end."""

import mmap
import os
from pathlib import Path

from hcflow_jax.errors import InputError
from hcflow_jax.files import refuse_special

SHOWN = 80  # characters: the longest text from a file in an error message


class UnpickleError(InputError):
    """A file is cut short or damaged, or contains other things than tensors and plain values. One line."""


def shown(value: object) -> str:
    """A text from a file for an error message: quoted, on one line, in ASCII and short. Other values: their type."""
    text = ascii(value) if isinstance(value, str) else type(value).__name__
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


class Source:
    """The bytes of a file, read in order.

    Attributes:
      bytes: the whole file, as a memory map.
    """

    def __init__(self, path: str | Path) -> None:
        """Maps a file.

        Raises:
          OSError: the file cannot be read.
          UnpickleError: the file is empty.
        """
        refuse_special(os.stat(path))
        with open(path, "rb") as file:
            if file.seek(0, 2) == 0:
                raise UnpickleError("the file is empty")
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 0

    @property
    def left(self) -> int:
        """The number of bytes that are left."""
        return len(self.bytes) - self._at

    def tell(self) -> int:
        """The position of the next byte."""
        return self._at

    def seek(self, place: int) -> None:
        """Moves to a position in the file."""
        self._at = place

    def skip(self, count: int) -> int:
        """Skips bytes. Returns the position of the first of them.

        Raises:
          UnpickleError: fewer bytes are left.
        """
        if count > self.left:
            problem = f"{count} bytes are claimed at byte {self._at}, {self.left} are there"
            raise UnpickleError(f"{problem}: the file is cut short or damaged")
        start, self._at = self._at, self._at + count
        return start

    def read(self, count: int) -> bytes:
        """Reads the next bytes.

        Raises:
          UnpickleError: fewer bytes are left.
        """
        start = self.skip(count)
        return self.bytes[start : self._at]

    def number(self, size: int) -> int:
        """Reads an unsigned little-endian number of `size` bytes."""
        return int.from_bytes(self.read(size), "little")
