"""Nearest training images of generated images (Figure 9): does a model repeat its training images?"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from hcflow_jax import pictures
from hcflow_jax.data import Source
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation.search import FEATURES, PIXELS, Best, Extractor, Tell, search

Images = UInt8[np.ndarray, "n R R 3"]

NEIGHBOURS = 5  # the number of neighbours of an image by default


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The k nearest training images of each generated image, nearest first, by one distance.

    Attributes:
      places: the indices of the training images in the set.
      mirrored: whether the nearest image is the mirror image of the training image.
      distances: by pixels, the root mean square difference in levels of 8-bit values; by features, the Euclidean
        distance.
      held_out: the distance of each held-out image to its nearest training image.
    """

    places: Int[np.ndarray, "n k"]
    mirrored: Bool[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]
    held_out: Float[np.ndarray, " m"]

    @property
    def memorised(self) -> float:
        """The share of generated images that are nearer to the set than the median held-out image.

        It is about 0.5 for a model that does not memorise.
        """
        return float((self.distances[:, 0] < np.median(self.held_out)).mean())

    @property
    def chance(self) -> float:
        """The standard deviation of `memorised` if generated images had the distribution of held-out images."""
        return float(np.sqrt((1 / len(self.distances) + 1 / len(self.held_out)) / 4))

    def as_dict(self) -> dict[str, float]:
        """The shares and distances as plain values for JSON."""
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
    """The result of `neighbours`.

    Attributes:
      pixels: the nearest images by pixels.
      features: the nearest images by features; None without an extractor.
      training_images: the number of images in the set.
      mirrors: whether the mirror images of the training images were compared too.
    """

    pixels: Nearest
    features: Nearest | None
    training_images: int
    mirrors: bool

    @property
    def by_distance(self) -> dict[str, Nearest]:
        """The nearest images by the name of the distance: "pixels" and, with an extractor, "features"."""
        return {PIXELS: self.pixels} | ({} if self.features is None else {FEATURES: self.features})

    def as_dict(self) -> dict[str, Any]:
        """The counts, shares and distances as plain values for JSON."""
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
    k: int = NEIGHBOURS,
    mirrored: bool,
    extractor: Extractor | None = None,
    tell: Tell = lambda done: None,
) -> Neighbours:
    """Finds the training images that are nearest to generated images, by pixels and by features.

    It reads the set once, part by part, so memory does not grow with the set.

    Args:
      generated: generated images, (n, R, R, 3).
      held_out: images of the same kind that are not in the set, (m, R, R, 3). Distances are compared with theirs.
      source: the training set.
      k: the number of neighbours of an image. A training image and its mirror image count as one.
      mirrored: whether to compare with the mirror images of the set too; training uses them if `data.flip` is set.
        The code mirrors the generated and held-out images instead. By pixels the distances are the same. By features
        this saves half of the work.
      extractor: a function from images (b, R, R, 3) uint8 to features (b, d). The feature of an image must not depend
        on other images. None: compare only by pixels.
      tell: is called after every part, with the number of training images done.

    Raises:
      InputError: there are no images, images have another size, the set has fewer than k images, or features are not
        finite.

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
    """Reads the training images that are nearest to one image. An image is mirrored if its mirror image is nearer.

    Args:
      found: the places of the nearest images.
      source: the training set.
      image: the index of the image in `found`.

    Returns:
      (k, R, R, 3), nearest first.
    """
    each = zip(found.places[image], found.mirrored[image], strict=True)
    return np.stack([source[int(place)][:, ::-1] if flipped else source[int(place)] for place, flipped in each])


def sheet(found: Neighbours, generated: Images, source: Source, count: int = 16, scale: int = 1) -> pictures.Sheet:
    """A sheet of generated images with their nearest training images.

    Each generated image has one row by pixels and, with an extractor, one by features. The row begins with the
    generated image.

    Args:
      found: from `neighbours`.
      generated, source: the arguments of that call.
      count: the number of generated images on the sheet: the first ones.
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
    """Finds the image of a set that is nearest to each image, by root mean square difference of pixel values.

    Args:
      images: (n, R, R, 3).
      source: the set.
      mirrored: whether to compare with the mirror images of the set too.
      tell: is called after every part, with the number of images of the set done.

    Returns:
      The nearest images, (n, R, R, 3), mirrored if the mirror image is nearer; their indices in the set, (n,); and
      their distances in levels of 8-bit values, (n,) float32.

    Raises:
      InputError: the set is empty or has images of another size.
    """
    best = search(images, source, 1, mirrored, None, tell)[PIXELS]
    found = np.concatenate([found_images(best, source, i) for i in range(len(images))])
    return found, best.places[:, 0], np.sqrt(best.squares[:, 0] / images[0].size).astype(np.float32)
