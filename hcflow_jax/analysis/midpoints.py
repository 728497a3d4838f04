"""Smooth interpolation as a number: the distance of images half-way between others to real images."""

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

    All are of n images, so that they can be compared: a Frechet distance is larger for fewer images.

    Attributes:
      midpoints: results for the images half-way between two ends.
      ends: results for the ends themselves, as the model decodes them.
      floor: between two halves of the reals, n images each or half of the reals if these are too few; None for reals
        that are known by their statistics only.
      floor_count: images of such a half.
      metric: what the distance is called: "fid", or "frechet_EXTRACTOR".
      protocol: what the numbers depend on, as plain values.
    """

    midpoints: float
    ends: float
    floor: float | None
    floor_count: int | None
    metric: str
    protocol: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    def table(self) -> list[str]:
        """The numbers for a person, a line each."""
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
    """Midpoints between images, each with the next one in a random order, the last one with the first.

    Args:
      model: from `api.load`.
      images: held-out images.
      reals: features of other real images by the same extractor: from `real_features.real_side`. If they are the
        same images, `ends` says only how exactly the model reconstructs.
      extractor: makes the features.
      how, space: as in `Model.interpolate`.
      count: n, how many of the images, 3 or more; None: all.
      seed: the seed of the order, and of the floor's halves.
      batch_size: images that the extractor takes at once on a device.
      tell: is called with what is done, how many images, and of how many.

    Raises:
      InputError: an argument is not allowed, there are too few images, or the reals have features of another
        extractor.
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
    """Midpoints between samples, each with the next one, the last one with the first.

    Args:
      count: n, how many samples, 3 or more.
      sigma: the sigma of the samples' latents, as in `Model.sample`. Linear midpoints of two draws at sigma have a
        standard deviation of 0.71 sigma, spherical ones nearly sigma.
      seed: the seed of the samples, and of the floor's halves.
      model, reals, extractor, how, space, batch_size, tell: as in `of_images`.

    Raises:
      InputError: as `of_images`.
    """
    number = whole("count", count, 3)
    latents = (
        model.draw(min(model.batch_size, number - start), seed, sigma, start)
        for start in range(0, number, model.batch_size)
    )
    about = {"ends": "samples", "sigma": model.sigma if sigma is None else sigma}
    return _measured(model, latents, number, reals, extractor, how, space, seed, batch_size, tell, about)


def sheet(
    model: api.Model, latents: api.Latents, how: How = "linear", space: str = "z", title: str = "midpoints"
) -> Sheet:
    """The picture: a row of ends, a row of the images half-way to the next one, a row of those next ones.

    Args:
      model: from `api.load`.
      latents: the latents of n >= 2 images; the columns are their n - 1 neighbouring pairs.
      how, space: as in `Model.interpolate`.
      title: above the rows.

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
    if reals.about.get("extractor", extractor.name) != extractor.name:
        raise InputError(f"{reals.name}: has features of {reals.about['extractor']}, not of {extractor.name}")
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
    """Each image with the next one, the last with the first: as many pairs as images.

    Args:
      parts: latents of n images, one part after the other, each of one image at least.

    Yields:
      (some of the latents as they were given, (one end of each of some pairs, the other end of each)). The last part
      has no latents, but one pair.
    """
    first, last = None, None
    for part in parts:
        row = part if last is None else api.concatenate([last, part])
        first = part[:1] if first is None else first
        yield part, (row[:-1], row[1:])
        last = row[-1:]
    if first is not None and last is not None:
        yield first[:0], (last, first)
