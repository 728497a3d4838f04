"""Nearest pictures of a training set: whether a model makes pictures of its own or repeats what it was shown."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, UInt8

from hcflow_jax.data import Source

Images = UInt8[np.ndarray, "n R R 3"]
_CHUNK = 1024  # pictures of the set in memory


def nearest(
    images: Images, source: Source, mirrored: bool = True, tell: Callable[[int], object] = lambda done: None
) -> tuple[Images, Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The picture of a set that is nearest to each image, by root mean square difference of pixel values.

    Args:
      images: (n, R, R, 3).
      source: the set.
      mirrored: compare with the set's mirror images too, which training sees.
      tell: is given the number of pictures looked at, now and again.

    Returns:
      The nearest pictures (mirrored, if that is what is near), their places in the set, and their distances in
      levels of 8-bit values.
    """
    own = images.reshape(len(images), -1).astype(np.float32)
    best = np.full(len(images), np.inf, np.float32)
    place, found = np.zeros(len(images), np.int64), np.zeros_like(images)
    for start in range(0, len(source), _CHUNK):
        chunk = np.stack([source[i] for i in range(start, min(start + _CHUNK, len(source)))])
        for pictures in (chunk, chunk[:, :, ::-1]) if mirrored else (chunk,):
            others = pictures.reshape(len(pictures), -1).astype(np.float32)
            squares = (own**2).sum(1)[:, None] - 2 * own @ others.T + (others**2).sum(1)
            nearest_here = squares.argmin(1)
            distance = squares[np.arange(len(own)), nearest_here]
            closer = distance < best
            best = np.where(closer, distance, best)
            place = np.where(closer, start + nearest_here, place)
            found[closer] = pictures[nearest_here[closer]]
        tell(start + len(chunk))
    exact = np.square(found.astype(np.float64) - images).mean((1, 2, 3))  # what the expansion above rounds
    return found, place, np.sqrt(exact).astype(np.float32)
