"""Nearest images of a training set (Figure 9): whether a model makes its own images or repeats those it was shown."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from hcflow_jax import pictures
from hcflow_jax.data import Source
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation.search import FEATURES, PIXELS, Best, Extractor, Tell, search

Images = UInt8[np.ndarray, "n R R 3"]


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The k nearest training images of each generated image, the nearest first, by one distance.

    Attributes:
      places: in the set.
      mirrored: whether it is the training image's mirror image that is near.
      distances: by pixels the root mean square difference, in levels of 8-bit values; by features the Euclidean one.
      held_out: distance of each held-out image to its nearest training image.
    """

    places: Int[np.ndarray, "n k"]
    mirrored: Bool[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]
    held_out: Float[np.ndarray, " m"]

    @property
    def memorised(self) -> float:
        """Share of the generated images that lie nearer to the set than the median held-out image; 0.5: none."""
        return float((self.distances[:, 0] < np.median(self.held_out)).mean())

    @property
    def chance(self) -> float:
        """The standard deviation of `memorised` about 0.5 if generated images were as held-out ones are."""
        return float(np.sqrt((1 / len(self.distances) + 1 / len(self.held_out)) / 4))

    def as_dict(self) -> dict[str, float]:
        """Its numbers as plain values, for JSON."""
        first = self.distances[:, 0]
        return {
            "memorised": self.memorised,
            "chance": self.chance,
            "median_generated": float(np.median(first)),
            "median_held_out": float(np.median(self.held_out)),
            "least_generated": float(first.min()),
            "least_held_out": float(self.held_out.min()),
        }


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """What `neighbours` found.

    Attributes:
      pixels: by pixels.
      features: by features; None without an extractor.
      training_images: how many the set has.
      mirrors: whether the training images' mirror images were looked at, too.
    """

    pixels: Nearest
    features: Nearest | None
    training_images: int
    mirrors: bool

    @property
    def by_distance(self) -> dict[str, Nearest]:
        """By pixels and, if there are, by features."""
        return {PIXELS: self.pixels} | ({} if self.features is None else {FEATURES: self.features})

    def as_dict(self) -> dict[str, Any]:
        """Its numbers as plain values, for JSON."""
        count, k = self.pixels.places.shape
        return {
            "generated": count,
            "held_out": len(self.pixels.held_out),
            "training_images": self.training_images,
            "mirrors": self.mirrors,
            "neighbours": k,
            **{name: found.as_dict() for name, found in self.by_distance.items()},
        }

    def __str__(self) -> str:
        """A table for a person."""
        count, of_set = len(self.pixels.places), f"{self.training_images:,} training images"
        lines = [
            f"nearest of {of_set}{' and their mirror images' * self.mirrors}: {count:,} generated, "
            f"{len(self.pixels.held_out):,} held-out images",
            f"  {'by':10}{'memorised':>18}{'median distance':>18}{'held out':>12}{'least':>10}{'held out':>12}",
        ]
        for name, found in self.by_distance.items():
            n = found.as_dict()
            share = f"{n['memorised']:.3f} (+- {n['chance']:.3f})"
            medians = f"{n['median_generated']:>18.4g}{n['median_held_out']:>12.4g}"
            lines.append(f"  {name:10}{share:>18}{medians}{n['least_generated']:>10.4g}{n['least_held_out']:>12.4g}")
        lines.append("  memorised: share of the generated that lie nearer than the median held-out image; 0.5: none")
        return "\n".join(lines)


def neighbours(
    generated: Images,
    held_out: Images,
    source: Source,
    *,
    k: int = 5,
    mirrored: bool,
    extractor: Extractor | None = None,
    tell: Tell = lambda done: None,
) -> Neighbours:
    """The nearest training images of generated images, by pixels and by features, in one pass over the set.

    Memory does not grow with the set: a part of it is looked at after the other.

    Args:
      generated: (n, R, R, 3).
      held_out: (m, R, R, 3), images like the set's that are not in it: what a distance is compared with.
      source: the training set.
      k: neighbours of an image. A training image and its mirror image count as one.
      mirrored: look at the set's mirror images too, which training sees if `data.flip` is set. It is the generated
        and held-out images that are mirrored, which by pixels comes to the same, and by features saves half the work.
      extractor: images (b, R, R, 3) uint8 to features (b, d), each image by itself; None: pixels alone.
      tell: is given the number of training images looked at, now and again.

    Raises:
      InputError: there are no images or of another size, the set has fewer than k, or features are not finite.

    >>> class Drawn(list):
    ...     name = identity = "drawn"
    >>> images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3)).astype(np.uint8)
    >>> found = neighbours(images[5:10], images[20:], Drawn(images[:20]), k=2, mirrored=False)
    >>> found.pixels.places[:, 0].tolist(), found.pixels.memorised
    ([5, 6, 7, 8, 9], 1.0)
    """
    for name, images in (("generated", generated), ("held_out", held_out)):
        if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
            given = f"{images.dtype} {images.shape}"
            raise InputError(f"{name}: expected uint8 images (n, R, R, 3), at least one; got {given}")
    if generated.shape[1:] != held_out.shape[1:]:
        raise InputError(f"generated images are {generated.shape[1:]}, and held-out ones {held_out.shape[1:]}")
    n = len(generated)
    best = search(np.concatenate([generated, held_out]), source, k, mirrored, extractor, tell)
    found = {}
    for name, each in best.items():
        distances = np.sqrt(each.squares / (generated[0].size if name == PIXELS else 1))
        found[name] = Nearest(each.places[:n], each.mirrored[:n], distances[:n], distances[n:, 0])
    return Neighbours(found[PIXELS], found.get(FEATURES), len(source), mirrored)


def found_images(found: Nearest | Best, source: Source, image: int) -> Images:
    """The training images that are nearest to one image, mirrored where that is what is near: read again.

    Args:
      found: where they are.
      source: the training set.
      image: its number.

    Returns:
      (k, R, R, 3), the nearest first.
    """
    each = zip(found.places[image], found.mirrored[image], strict=True)
    return np.stack([source[int(place)][:, ::-1] if flipped else source[int(place)] for place, flipped in each])


def sheet(found: Neighbours, generated: Images, source: Source, count: int = 16, scale: int = 1) -> pictures.Sheet:
    """Generated images, each beside its nearest training images: a row by pixels and, if there are, one by features.

    Args:
      found: from `neighbours`.
      generated, source: what it was given.
      count: images on the sheet: the first.
      scale: as in `pictures.grid`.
    """
    rows, labels = [], []
    for i in range(min(count, len(generated))):
        for name, each in found.by_distance.items():
            rows.append(np.concatenate([generated[i : i + 1], found_images(each, source, i)]))
            labels.append(f"{i}: by {name}")
    return pictures.rows(rows, labels, scale)


def nearest(
    images: Images, source: Source, mirrored: bool = True, tell: Tell = lambda done: None
) -> tuple[Images, Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The one image of a set that is nearest to each image, by root mean square difference of pixel values.

    Args:
      images: (n, R, R, 3).
      source: the set.
      mirrored: compare with the set's mirror images too, which training sees.
      tell: is given the number of images looked at, now and again.

    Returns:
      The nearest images (mirrored, if that is what is near), their places in the set, and their distances in levels
      of 8-bit values.
    """
    best = search(images, source, 1, mirrored, None, tell)[PIXELS]
    found = np.concatenate([found_images(best, source, i) for i in range(len(images))])
    return found, best.places[:, 0], np.sqrt(best.squares[:, 0] / images[0].size).astype(np.float32)
