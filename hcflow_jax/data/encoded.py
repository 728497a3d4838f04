"""Sets of encoded pictures, and a source that decodes a picture each time it is read."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

from hcflow_jax.data import images, reading
from hcflow_jax.data.left_out import LeftOut
from hcflow_jax.data.source import DataError


class Encoded(Protocol):
    """A set of encoded pictures: names in an order that is always the same, and bytes by name.

    Reading is thread-safe. A set needs no memory per picture, so it may contain millions.
    """

    @property
    def name(self) -> str:
        """The set, for messages and logs."""
        ...

    @property
    def left_out(self) -> LeftOut:
        """The files that the last run through `names` left out because of their endings."""
        ...

    def names(self) -> Iterator[str]:
        """Yields the names of all pictures, in order.

        Raises:
          DataError: for a place that cannot be listed, naming it.
        """
        ...

    def read(self, name: str) -> bytes:
        """The encoded bytes of a picture.

        Raises:
          DataError: if it cannot be read, naming it (`label`).
        """
        ...

    def label(self, name: str) -> str:
        """The name of a picture in messages: its path, if it has one."""
        ...

    def describe(self) -> dict[str, Any]:
        """Where the set comes from, for JSON: "kind", and the arguments that name it."""
        ...


def load(
    encoded: Encoded, name: str, resolution: int, say: images.Say = images.say_once
) -> UInt8[np.ndarray, "R R 3"]:
    """Reads one picture of a set as a square: see `images.load`.

    Raises:
      DataError: naming the picture, for whatever is raised while it is read or decoded.
    """
    label = encoded.label(name)
    with reading.naming(label, "cannot be read", "repair or remove it"):
        data = encoded.read(name)
    return images.load(data, resolution, label, say)


class Names:
    """Many short strings in one byte string. A list of them would need four times the memory."""

    def __init__(self, names: Iterable[str]) -> None:
        """Stores the strings."""
        text, ends, digest = bytearray(), [np.zeros(1, np.int64)], hashlib.sha256()
        block: list[int] = []
        for name in names:
            encoded = name.encode("utf-8", "surrogateescape")
            text += encoded
            digest.update(encoded + b"\0")
            block.append(len(text))
            if len(block) == 65536:
                ends.append(np.array(block, np.int64))
                block = []
        self._text, self._ends = bytes(text), np.concatenate([*ends, np.array(block, np.int64)])
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._text[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogateescape")


class Pictures:
    """An encoded set as a source: a picture is read and decoded each time it is asked for (`images.load`)."""

    def __init__(self, encoded: Encoded, resolution: int) -> None:
        """Lists the set.

        Raises:
          DataError: if it cannot be listed or holds nothing, naming it.
        """
        self.encoded, self.resolution, self.name = encoded, resolution, encoded.name
        self._names = Names(encoded.names())
        if not len(self):
            raise DataError(f"{self.name} contains no picture")
        if str(encoded.left_out):
            message = f"{self.name}: left out, not pictures by their endings: {encoded.left_out}"
            images.log_once(message, key=message)
        self.identity = hashlib.sha256(f"{self._names.digest} {resolution}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of the {len(self)} of {self.name}")
        return load(self.encoded, self._names[index], self.resolution)
