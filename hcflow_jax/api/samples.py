"""Samples, one batch after another, with the number of those whose values are not finite."""

import warnings
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, UInt8


class Samples(Iterator[UInt8[np.ndarray, "b R R 3"]]):
    """Batches of images. A value that is not finite (NaN or infinite) becomes 0 or 255.

    Attributes:
      drawn: the number of images so far.
      not_finite: the number of images so far that have such a value.
    """

    def __init__(self, batches: Iterator[tuple[UInt8[np.ndarray, "b R R 3"], Bool[np.ndarray, " b"]]]):
        """Counts nothing yet.

        Args:
          batches: images, and whether all values of an image are finite.
        """
        self._batches, self.drawn, self.not_finite = batches, 0, 0

    def __next__(self) -> UInt8[np.ndarray, "b R R 3"]:
        images, finite = next(self._batches)
        self.drawn, self.not_finite = self.drawn + len(images), self.not_finite + int((~finite).sum())
        return images

    @property
    def note(self) -> str:
        """What to tell of images whose values are not finite; empty if there are none."""
        return note(self.not_finite, self.drawn)

    def warn(self) -> None:
        """Gives the note as a RuntimeWarning of the caller's caller."""
        if self.note:
            warnings.warn(self.note, RuntimeWarning, stacklevel=3)


def note(not_finite: int, count: int) -> str:
    """What to tell of images whose values are not finite; empty if there are none.

    >>> note(2, 1000)
    '2 of 1,000 images have values that are not finite, in black or white; a smaller sigma makes fewer of them'
    """
    if not not_finite:
        return ""
    return (
        f"{not_finite:,} of {count:,} images have values that are not finite, in black or white; "
        "a smaller sigma makes fewer of them"
    )
