"""Measures what each level of a model controls: how much pixels vary if only this level is resampled (Figure 5)."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from hcflow_jax import api, pictures
from hcflow_jax.analysis.measured import Mean, Tell, jackknife, left_out, mean
from hcflow_jax.api.arguments import are_latents, whole
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import round_trip
from hcflow_jax.pictures import Block, Sheet

UNIT = "8-bit levels"
LEVELS = 256  # 8-bit levels in the range [0, 1] of an image's values


@dataclasses.dataclass(frozen=True)
class Variation:
    """Maps of pixel standard deviations.

    Attributes:
      images: the images of the given latents, (n, R, R, 3) uint8.
      maps: level -> map (n, R, R) in 8-bit levels, coarse to fine. The value at a pixel is the square root of the
        variance over the resamplings, where the variance is averaged over the three channels.
      resamplings: how often each level of each image was drawn.
      seed: the seed of the draws.
      left_out: level -> the number of resampled images, of n * `resamplings`, that contain NaN. A model may make such
        images if a level is drawn without truncation. They are left out of the variance.
    """

    images: UInt8[np.ndarray, "n R R 3"]
    maps: Mapping[str, Float[np.ndarray, "n R R"]]
    resamplings: int
    seed: int
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def mean_std(self) -> dict[str, Mean]:
        """The mean pixel standard deviation by level, in 8-bit levels. The standard error is over images."""
        return {name: mean(values) for name, values in zip(self.maps, self._by_image().T, strict=True)}

    def ratio(self) -> Mean:
        """The largest mean pixel std of a level divided by the smallest.

        1 means that all levels have the same effect on pixels. Infinity means that a level has no effect. The
        standard error is the jackknife's over images.
        """
        return self._statistic(_ratio)

    def evenness(self) -> Mean:
        """How evenly the levels share the variation of the pixels, from 0 to 1: Pielou's evenness.

        It is the entropy of the levels' shares, divided by the logarithm of the number of levels. The share of a
        level is its mean pixel std divided by the sum over all levels. 1 means that all levels have the same share,
        and 0 that one level has everything. Models with different numbers of levels can be compared. It is NaN for a
        model with one level. The standard error is the jackknife's over images.
        """
        return self._statistic(_evenness)

    def as_dict(self) -> dict[str, Any]:
        """The results and everything that they depend on, as plain values for JSON."""
        return {
            "mean_pixel_std": {name: each.as_dict() for name, each in self.mean_std().items()},
            "ratio_largest_to_smallest": self.ratio().as_dict(),
            "evenness": self.evenness().as_dict(),
            "protocol": {
                "unit": UNIT,
                "std": "root of the mean over channels of the unbiased variance over resamplings",
                "resamplings": self.resamplings,
                "sigma": 1.0,
                "seed": self.seed,
                "images": len(self.images),
                "left_out": {name: self.left_out.get(name, 0) for name in self.maps},
            },
        }

    def rows(self) -> list[dict[str, Any]]:
        """The mean pixel std of each image and level, as rows for CSV."""
        values = self._by_image()
        return [
            {"image": i, "level": name, "mean_pixel_std": float(values[i, k])}
            for i in range(len(values))
            for k, name in enumerate(self.maps)
        ]

    def table(self) -> list[str]:
        """The results as lines of text for a person."""
        lines = [f"mean pixel std in {UNIT}, {len(self.images)} images, {self.resamplings} resamplings at sigma 1"]
        lines += [f"  level {name:<10}{each}" for name, each in self.mean_std().items()]
        total = len(self.images) * self.resamplings
        lines += [
            f"  level {name}: {count} of {total} images are not finite and are left out"
            for name, count in self.left_out.items()
            if count
        ]
        return [*lines, f"largest / smallest  {self.ratio()}", f"evenness            {self.evenness()}"]

    def _by_image(self) -> Float[np.ndarray, "n levels"]:
        return np.stack([maps.mean((1, 2), dtype=np.float64) for maps in self.maps.values()], 1)

    def _statistic(self, statistic: Any) -> Mean:
        values = self._by_image()
        without = left_out(values) if len(values) > 1 else values[:0]
        return jackknife(statistic(values.mean(0)), np.array([statistic(each) for each in without]))


def variation(
    model: api.Model,
    latents: api.Latents,
    resamplings: int = 32,
    seed: int = 0,
    tell: Tell = lambda *news: None,
) -> Variation:
    """Draws each level of images many times, keeps the other levels, and measures how much the pixels vary.

    The level is drawn without truncation, at sigma 1. The coarser levels are decoded once. Images are decoded to
    floats, clipped to [0, 1] and not rounded. The result for an image depends on its index, but not on the number of
    images.

    Args:
      model: from `api.load`, of any family.
      latents: the latents of n images, from `model.encode(images)` or `model.draw(n, sigma=...)`.
      resamplings: how often each level is drawn, 2 or more. About this many images are in memory at once, but at
        least `model.batch_size`.
      seed: the seed of the draws.
      tell: is called with "variation", the (image, level) pairs done, and their number.

    Raises:
      InputError: the latents are not this model's, there are fewer than 2 resamplings, or fewer than 2 images of a
        level are finite.
    """
    are_latents(latents)
    times = whole("resamplings", resamplings, 2)
    names, side = model.level_names, model.resolution
    images = model.decode(latents)
    maps = {name: np.empty((len(images), side, side), np.float32) for name in names}
    left_out = dict.fromkeys(names, 0)
    for start, name, floats in _resampled(model, latents, times, seed, tell):
        for i, each in enumerate(floats, start=start):
            good = each[~np.isnan(each).any((1, 2, 3))]
            left_out[name] += times - len(good)
            maps[name][i] = _pixel_std(good, name)
    return Variation(images, maps, times, seed, left_out)


def resamplings(
    model: api.Model, latents: api.Latents, count: int = 32, seed: int = 0, tell: Tell = lambda *news: None
) -> dict[str, UInt8[np.ndarray, "n k R R 3"]]:
    """The images that `variation` measures, for a video: each level of each image is drawn k times.

    Args:
      model, latents, seed, tell: as in `variation`.
      count: k, 2 or more.

    Returns:
      Level -> images (n, k, R, R, 3) uint8, coarse to fine. All images are in memory.

    Raises:
      InputError: the latents are not this model's, or `count` is less than 2.
    """
    are_latents(latents)
    times, side = whole("count", count, 2), model.resolution
    made = {name: np.empty((len(latents), times, side, side, 3), np.uint8) for name in model.level_names}
    for start, name, floats in _resampled(model, latents, times, seed, tell):
        made[name][start : start + len(floats)] = round_trip.to_values(floats)
    return made


def frames(
    images: UInt8[np.ndarray, "n R R 3"], resampled: Mapping[str, UInt8[np.ndarray, "n k R R 3"]]
) -> Iterator[Sheet]:
    """The frames of a video. Rows are images, and columns are levels. Each frame shows another draw of every level.

    Args:
      images: the images that were resampled. They are in the first column.
      resampled: from `resamplings`.

    Yields:
      k sheets of the same size.
    """
    (scale,) = pictures.scales([images.shape[1]])
    columns = ["image", *(f"level {name}" for name in resampled)]
    for k in range(next(iter(resampled.values())).shape[1]):
        cells = np.stack([images, *(each[:, k] for each in resampled.values())], 1)
        yield pictures.blocks([Block("", [(str(i), row) for i, row in enumerate(cells)], columns, scale)])


def sheet(found: Mapping[str, Variation], top: float | None = None, shown: int = 8) -> Sheet:
    """A sheet with a block for each model. Rows are images, and columns are levels. All maps share a colour scale.

    Args:
      found: name of the model -> its variation.
      top: the std at the end of the colour scale, in 8-bit levels; None: the largest of the maps shown.
      shown: the largest number of rows of a block.

    Raises:
      MissingExtraError: matplotlib is not installed.
    """
    largest = max(float(maps[:shown].max()) for each in found.values() for maps in each.maps.values())
    limit = top or largest or 1.0
    sizes = pictures.scales([each.images.shape[1] for each in found.values()])
    parts = []
    for (name, each), scale in zip(found.items(), sizes, strict=True):
        colours = [pictures.coloured(maps[:shown], limit) for maps in each.maps.values()]
        cells = np.stack([each.images[:shown], *colours], 1)
        stds = each.mean_std()
        columns = ["image", *(f"level {level}\nmean {stds[level].value:.1f}" for level in each.maps)]
        parts.append(Block(name, [(str(i), row) for i, row in enumerate(cells)], columns, scale))
    left = pictures.blocks(parts)
    bar = pictures.colour_bar(min(len(left), 480), limit, f"pixel std, {UNIT}", clipped=largest > limit)
    return pictures.beside([left, bar])


def _resampled(
    model: api.Model, latents: api.Latents, times: int, seed: int, tell: Tell
) -> Iterator[tuple[int, str, Float[np.ndarray, "b k R R 3"]]]:
    """Yields resampled images: the index of the first image, the level that was drawn, and the decoded floats."""
    count, names = len(latents), model.level_names
    several, done = max(1, model.batch_size // times), 0
    for start in range(0, count, several):
        some = latents[start : start + several]
        ones = dict.fromkeys(names, 1.0)
        drawn = model.draw(len(some) * times, seed, ones, first=start * times)
        kept = some[np.repeat(np.arange(len(some)), times)]
        for name in names:
            coarse = model.decode_coarse(some, name).repeat(times)
            floats = model.decode_from(coarse, kept.replace(**{name: drawn[name]}), as_float=True)
            yield start, name, floats.reshape(len(some), times, *floats.shape[1:])
            done += len(some)
            tell("variation", done, count * len(names))


def _pixel_std(images: Float[np.ndarray, "k R R 3"], name: str) -> Float[np.ndarray, "R R"]:
    if len(images) < 2:
        raise InputError(f"level {name}, resampled, makes images that are not finite; check the model's parameters")
    variance = np.clip(images, 0, 1).var(0, ddof=1, dtype=np.float64)
    return LEVELS * np.sqrt(variance.mean(-1))


def _ratio(means: Float[np.ndarray, " levels"]) -> float:
    return float(means.max() / means.min()) if means.min() > 0 else math.inf


def _evenness(means: Float[np.ndarray, " levels"]) -> float:
    if len(means) < 2 or means.sum() <= 0:
        return math.nan
    shares = means[means > 0] / means.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(means)))
