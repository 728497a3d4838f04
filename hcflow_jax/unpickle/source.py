"""A file as a memory map that is read from front to back: nothing is taken that is not there."""

import mmap
from pathlib import Path

from hcflow_jax.errors import InputError

LINE = 200  # bytes, at most, of a name that ends with its line
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
        with open(path, "rb") as file:
            if file.seek(0, 2) == 0:
                raise UnpickleError("the file is empty")
            self.bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 0
        self._end = len(self.bytes)

    @property
    def left(self) -> int:
        """How many bytes come yet."""
        return len(self.bytes) - self._at

    def within(self, count: int | None) -> None:
        """Lets no more than `count` further bytes be read; None: all there are."""
        self._end = len(self.bytes) if count is None else min(self._at + count, len(self.bytes))

    def tell(self) -> int:
        """Where the next byte is."""
        return self._at

    def skip(self, count: int) -> int:
        """Passes over bytes; returns where the first of them is.

        Raises:
          UnpickleError: so many are not there.
        """
        if count > self._end - self._at:
            there, short = self._end - self._at, self._end == len(self.bytes)
            problem = "the file is cut short or damaged" if short else "that is longer than any model's"
            raise UnpickleError(f"{count} bytes are claimed at byte {self._at}, {there} can be there: {problem}")
        start, self._at = self._at, self._at + count
        return start

    def read(self, count: int) -> bytes:
        """The next bytes.

        Raises:
          UnpickleError: so many are not there.
        """
        start = self.skip(count)
        return self.bytes[start : self._at]

    def readline(self) -> bytes:
        """The next line, its end included.

        Raises:
          UnpickleError: it does not end within `LINE` bytes.
        """
        stop = self.bytes.find(b"\n", self._at, min(self._end, self._at + LINE))
        if stop < 0:
            raise UnpickleError(f"the name at byte {self._at} does not end")
        return self.read(stop + 1 - self._at)

    def number(self, size: int) -> int:
        """The next little-endian number of `size` bytes, unsigned."""
        return int.from_bytes(self.read(size), "little")
