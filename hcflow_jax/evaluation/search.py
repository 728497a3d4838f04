"""Finds the k nearest images of a set for any number of images, in one pass over the set."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from hcflow_jax.data import Source, several
from hcflow_jax.errors import InputError

Images = UInt8[np.ndarray, "n R R 3"]
Features = Float[np.ndarray, "n d"]
Extractor = Callable[[Images], Features]
Tell = Callable[[int], object]

PIXELS, FEATURES = "pixels", "features"
_MOST, _BYTES = 1024, 1 << 26  # the most images of the set in memory at once, and their most bytes
_ROWS = 1024  # images whose distances are in memory at once
_EXACT = 1024  # float32 sums this many products of values in [-128, 127] exactly: the sum is at most 2^24


@dataclasses.dataclass(frozen=True)
class Best:
    """The nearest images so far, nearest first.

    Attributes:
      places: the indices in the set.
      mirrored: whether the mirror image is the nearer one.
      squares: the squared distances.
    """

    places: Int[np.ndarray, "n k"]
    mirrored: Bool[np.ndarray, "n k"]
    squares: Float[np.ndarray, "n k"]

    @classmethod
    def none(cls, count: int, k: int) -> "Best":
        """The state before the search: all distances are infinite."""
        shape = (count, k)
        return cls(np.zeros(shape, np.int64), np.zeros(shape, bool), np.full(shape, np.inf))

    def update(self, rows: slice, first: int, by_view: list[Float[np.ndarray, "b c"]]) -> None:
        """Updates the nearest images with a part of the set.

        Args:
          rows: the images that are compared.
          first: the index in the set of the part's first image.
          by_view: squared distances to the part's images and, if wanted, to their mirror images.
        """
        k, squares = self.places.shape[1], by_view[0]
        flipped = by_view[-1] < squares
        squares = np.minimum(squares, by_view[-1])
        near = np.argpartition(squares, min(k, squares.shape[1]) - 1)[:, :k]
        near.sort(1)  # in order of the set: at equal distance, the stable sort below keeps the earlier image first
        joined = np.concatenate([self.squares[rows], np.take_along_axis(squares, near, 1)], 1)
        order = np.argsort(joined, 1, kind="stable")[:, :k]
        for kept, found in (
            (self.squares, np.take_along_axis(squares, near, 1)),
            (self.mirrored, np.take_along_axis(flipped, near, 1)),
            (self.places, first + near),
        ):
            kept[rows] = np.take_along_axis(np.concatenate([kept[rows], found], 1), order, 1)


def search(
    images: Images, source: Source, k: int, mirrored: bool, extractor: Extractor | None, tell: Tell
) -> dict[str, Best]:
    """Finds the nearest images of a set by pixels and, if there is an extractor, by features.

    The squared distance by pixels is the exact sum of squared differences of 8-bit values. The squared distance by
    features is computed in float64.

    Args:
      images: (n, R, R, 3).
      source: the set, of R x R images.
      k: the number of nearest images; an image and its mirror image count as one.
      mirrored: whether to compare with mirror images too.
      extractor: a function from images (b, R, R, 3) uint8 to features (b, d).
      tell: is called after each part of the set, with the number of its images done.

    Returns:
      The nearest images by the name of the distance, "pixels" and "features".

    Raises:
      InputError: the set has fewer than k images or images of another size, or features are not finite.
    """
    if not 1 <= k <= len(source):
        raise InputError(f"k is {k}: expected at least 1, and at most the {len(source):,} images of {source.name}")
    best, own = {PIXELS: Best.none(len(images), k)}, []
    if extractor is not None:
        best[FEATURES] = Best.none(len(images), k)
        own = [_features(extractor, view) for view in _views(images, mirrored)]
    for first, part in _parts(source, images.shape[1:]):
        others = _features(extractor, part) if extractor is not None else None
        for start in range(0, len(images), _ROWS):
            rows = slice(start, start + _ROWS)
            squares = [pixel_squares(view, part) for view in _views(images[rows], mirrored)]
            best[PIXELS].update(rows, first, squares)
            if others is not None:
                best[FEATURES].update(rows, first, [_squares(view[rows], others) for view in own])
        tell(first + len(part))
    return best


def pixel_squares(x: Images, y: UInt8[np.ndarray, "c R R 3"]) -> Float[np.ndarray, "n c"]:
    """Exact sums of squared differences of 8-bit values, between all images of x and all images of y.

    For speed, the products are summed in float32, in parts that are small enough for float32 to be exact.
    """
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    own, other, both = np.zeros((len(x), 1)), np.zeros(len(y)), np.zeros((len(x), len(y)))
    for start in range(0, x.shape[1], _EXACT):
        a, b = (each[:, start : start + _EXACT].astype(np.float32) - 128 for each in (x, y))
        own += np.square(a).sum(1, keepdims=True)
        other += np.square(b).sum(1)
        both += a @ b.T
    return own + other - 2 * both


def _squares(x: Features, y: Float[np.ndarray, "c d"]) -> Float[np.ndarray, "n c"]:
    squares = np.square(x).sum(1, keepdims=True) + np.square(y).sum(1) - 2 * x @ y.T
    return np.maximum(squares, 0)


def _views(images: Images, mirrored: bool) -> list[Images]:
    return [images, images[:, :, ::-1]] if mirrored else [images]


def _parts(source: Source, shape: tuple[int, ...]) -> Iterator[tuple[int, Images]]:
    """Yields the set part by part: the index of the part's first image, and its images."""
    size = max(1, min(_MOST, _BYTES // int(np.prod(shape))))
    for first in range(0, len(source), size):
        part = np.stack(list(several(source, range(first, min(first + size, len(source))))))
        if part.shape[1:] != shape:
            raise InputError(f"{source.name}: has images of {part.shape[1:]}, and those to compare are {shape}")
        yield first, part


def _features(extractor: Extractor, images: Images) -> Features:
    found = [np.asarray(extractor(images[i : i + _MOST]), np.float64) for i in range(0, len(images), _MOST)]
    joined = np.concatenate(found)
    if joined.ndim != 2 or len(joined) != len(images):
        raise InputError(f"the extractor gave {joined.shape} for {len(images)} images: expected (images, d)")
    if not np.isfinite(joined).all():
        raise InputError("the extractor gave features that are not finite")
    return joined
