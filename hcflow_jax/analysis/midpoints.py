"""Measures the quality of interpolation: the distance between images at midpoints and real images."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from hcflow_jax import api, pictures
from hcflow_jax.analysis.measured import Tell
from hcflow_jax.api.arguments import Sigma, known_seed, known_space, whole
from hcflow_jax.batches import regroup
from hcflow_jax.data import Source
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import comparison, real_features
from hcflow_jax.evaluation.comparison import Side
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.frechet import frechet
from hcflow_jax.pictures import Block, Sheet

How = Literal["linear", "spherical"]
Images = UInt8[np.ndarray, "n R R 3"]


@dataclasses.dataclass(frozen=True)
class Midpoints:
    """Frechet distances to real images.

    Both distances are computed from n images, so they can be compared: a Frechet distance is larger for fewer images.

    Attributes:
      midpoints: the distance of the images at the midpoints between two ends.
      ends: the distance of the ends themselves, as the model decodes them.
      floor: the distance between two disjoint sets of real images. Each has n images, or half of the real images if
        there are fewer than 2 n. None: only statistics of the real images are known, or there are fewer than 4.
      floor_count: the number of images in each of these sets.
      metric: the name of the distance: "fid", or "frechet_EXTRACTOR".
      protocol: everything that the numbers depend on, as plain values.
    """

    midpoints: float
    ends: float
    floor: float | None
    floor_count: int | None
    metric: str
    protocol: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    def table(self) -> list[str]:
        """The distances as lines of text for a person."""
        about = self.protocol
        lines = [
            f"{self.metric} of {about['count']:,} images to {about['count_real']:,} reals",
            f"  midpoints, {about['how']} in {about['space']}: {self.midpoints:.4f}",
            f"  ends, {about['ends']}: {self.ends:.4f}",
        ]
        if self.floor is not None:
            lines.append(f"  two halves of the reals, {self.floor_count:,} each: {self.floor:.4f}")
        return lines


def of_images(
    model: api.Model,
    images: Source | Images,
    reals: Side,
    extractor: Extractor,
    how: How = "linear",
    space: str = "z",
    count: int | None = None,
    seed: int = 0,
    batch_size: int = 50,
    tell: Tell = lambda *news: None,
) -> Midpoints:
    """Measures midpoints between images.

    The images are put in a random order. Each is paired with the next, and the last with the first.

    Args:
      model: from `api.load`.
      images: held-out images.
      reals: features of other real images, by the same extractor, from `real_features.real_side`. If they are the
        same images, `ends` only measures how exactly the model reconstructs.
      extractor: makes the features.
      how, space: as in `Model.interpolate`.
      count: n, the number of images to use, 3 or more; None: all.
      seed: the seed of the order, and of the random sets for the floor.
      batch_size: the number of images that the extractor takes at once on a device.
      tell: is called with what is being done, the images done, and their number.

    Raises:
      InputError: an argument is not allowed, there are too few images, or the features of the real images were
        made differently: by another extractor, from images that were resized differently, or with other weights.
    """
    number = whole("count", len(images) if count is None else count, 3, len(images) + 1)
    order = np.random.default_rng(int(known_seed(seed))).permutation(len(images))[:number]
    latents = model.encode_batches(
        np.stack([images[int(i)] for i in order[start : start + model.batch_size]])
        for start in range(0, number, model.batch_size)
    )
    return _measured(model, latents, number, reals, extractor, how, space, seed, batch_size, tell, {"ends": "images"})


def of_samples(
    model: api.Model,
    count: int,
    reals: Side,
    extractor: Extractor,
    how: How = "linear",
    space: str = "z",
    sigma: Sigma | None = None,
    seed: int = 0,
    batch_size: int = 50,
    tell: Tell = lambda *news: None,
) -> Midpoints:
    """Measures midpoints between samples. Each sample is paired with the next, the last with the first.

    Args:
      count: n, the number of samples, 3 or more.
      sigma: the std of the samples' latents, as in `Model.sample`. The linear midpoint of two draws has a standard
        deviation of 0.71 sigma, the spherical midpoint nearly sigma.
      seed: the seed of the samples, and of the random sets for the floor.
      model, reals, extractor, how, space, batch_size, tell: as in `of_images`.

    Raises:
      InputError: as in `of_images`.
    """
    number = whole("count", count, 3)
    latents = (
        model.draw(min(model.batch_size, number - start), seed, sigma, start)
        for start in range(0, number, model.batch_size)
    )
    about = {"ends": "samples", "sigma": model.default_sigma if sigma is None else sigma}
    return _measured(model, latents, number, reals, extractor, how, space, seed, batch_size, tell, about)


def sheet(
    model: api.Model, latents: api.Latents, how: How = "linear", space: str = "z", title: str = "midpoints"
) -> Sheet:
    """A sheet of three rows: one end of each pair, the midpoint, and the other end.

    Args:
      model: from `api.load`.
      latents: the latents of n >= 2 images. The columns are the n - 1 pairs of neighbours.
      how, space: as in `Model.interpolate`.
      title: the title above the rows.

    Raises:
      InputError: an argument is not allowed.
    """
    if len(latents) < 2:
        raise InputError(f"latents are of {len(latents)} image; midpoints need at least two")
    ends = model.decode(latents)
    between = model.decode(model.blend(latents[:-1], latents[1:], how=how, space=space))
    (scale,) = pictures.scales([model.resolution])
    rows = [("one end", ends[:-1]), ("half-way", between), ("other end", ends[1:])]
    return pictures.blocks([Block(title, rows, scale=scale)])


def _measured(
    model: api.Model,
    latents: Iterable[api.Latents],
    count: int,
    reals: Side,
    extractor: Extractor,
    how: How,
    space: str,
    seed: int,
    batch_size: int,
    tell: Tell,
    about: dict[str, Any],
) -> Midpoints:
    known_space(model.image_model, space)
    if how not in ("linear", "spherical"):
        raise InputError(f"interpolation is linear or spherical, not {how!r}")
    for key, own in extractor.about().items():
        if reals.about.get(key, own) != own:
            raise InputError(
                f"{reals.name} has features with another {key} than the extractor: {reals.about[key]}, not {own}; "
                "make them with the same extractor"
            )
    is_end: list[np.ndarray] = []

    def ends_and_midpoints() -> Iterator[api.Latents]:
        for part, (a, b) in pairs(latents):
            if len(part):
                is_end.append(np.ones(len(part), bool))
                yield part
            if len(a):
                is_end.append(np.zeros(len(a), bool))
                yield model.blend(a, b, how=how, space=space)

    decoded = model.decode_batches(regroup(ends_and_midpoints(), model.batch_size))
    features = comparison.extract_batches(
        "ends and midpoints",
        2 * count,
        decoded,
        extractor,
        batch_size,
        lambda done, of: tell("ends and midpoints", done, of),
    )
    which = np.concatenate(is_end)
    ends, middle = (frechet(comparison.moments(features[mask]), reals.statistics) for mask in (which, ~which))
    floor = real_features.floor(reals, count, seed) or {"frechet": None, "count": None}
    protocol = {**about, "how": how, "space": space, "seed": seed, "count": count, "count_real": reals.count}
    protocol |= {"real": reals.about, **extractor.about()}
    return Midpoints(middle, ends, floor["frechet"], floor["count"], extractor.metric, protocol)


def pairs(parts: Iterable[api.Latents]) -> Iterator[tuple[api.Latents, tuple[api.Latents, api.Latents]]]:
    """Pairs each image with the next one, and the last with the first: as many pairs as images.

    Args:
      parts: latents of n images, in parts of at least one image.

    Yields:
      A part of the latents, unchanged, and the two ends of some pairs: (part, (a, b)). The last item has an empty
      part and one pair.
    """
    first, last = None, None
    for part in parts:
        row = part if last is None else api.concatenate([last, part])
        first = part[:1] if first is None else first
        yield part, (row[:-1], row[1:])
        last = row[-1:]
    if first is not None and last is not None:
        yield first[:0], (last, first)
