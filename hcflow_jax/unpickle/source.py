"""A file as a memory map that is read from front to back: nothing is taken that is not there."""

import mmap
import os
from pathlib import Path

from hcflow_jax.errors import InputError
from hcflow_jax.files import refuse_special

SHOWN = 80  # characters of what a file says that an error repeats


class UnpickleError(InputError):
    """A file that is cut short, damaged or asks for more than tensors and plain values; one line."""


def shown(value: object) -> str:
    """What a file says, for an error: quoted, on one line, printable on any terminal, and short."""
    text = ascii(value) if isinstance(value, str) else type(value).__name__
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


class Source:
    """The bytes of a file, read in order.

    Attributes:
      bytes: the whole file, mapped; a view of it costs no memory.
    """

    def __init__(self, path: str | Path) -> None:
        """Maps a file.

        Raises:
          OSError: it cannot be read.
          UnpickleError: it is empty.
        """
        refuse_special(os.stat(path))
        with open(path, "rb") as file:
            if file.seek(0, 2) == 0:
                raise UnpickleError("the file is empty")
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes come yet."""
        return len(self.bytes) - self._at

    def tell(self) -> int:
        """Where the next byte is."""
        return self._at

    def seek(self, place: int) -> None:
        """Goes to a byte, which is in the file."""
        self._at = place

    def skip(self, count: int) -> int:
        """Passes over bytes; returns where the first of them is.

        Raises:
          UnpickleError: so many are not there.
        """
        if count > self.left:
            problem = f"{count} bytes are claimed at byte {self._at}, {self.left} are there"
            raise UnpickleError(f"{problem}: the file is cut short or damaged")
        start, self._at = self._at, self._at + count
        return start

    def read(self, count: int) -> bytes:
        """The next bytes.

        Raises:
          UnpickleError: so many are not there.
        """
        start = self.skip(count)
        return self.bytes[start : self._at]

    def number(self, size: int) -> int:
        """The next little-endian number of `size` bytes, unsigned."""
        return int.from_bytes(self.read(size), "little")
