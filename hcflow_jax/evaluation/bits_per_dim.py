"""The held-out bound: bits per dimension of the image under the noisy model, with entropies (docs/model.md, Eq. M).

The bound is an upper bound on the negative log-likelihood. It is estimated with draws of the noise. The noise of an
image depends only on the seed, the draw and the index of the image. So the estimate does not depend on the batch
size. In some models the images of a batch unit share statistics, such as the scale of the hierarchy's noise. Then the
bound of an image also depends on the other images of its unit, and so on the order of the images. More draws for each
image make the estimate more precise.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from hcflow_jax.errors import InputError
from hcflow_jax.likelihood import make_image_bound
from hcflow_jax.models import ImageModel

BatchBound = Callable[
    [Any, UInt8[np.ndarray, "B R R 3"], Int[np.ndarray, " B"], np.uint32], dict[str, Float[Array, " B"]]
]
Values = dict[str, Float[np.ndarray, "n draws"]]


@dataclasses.dataclass(frozen=True)
class Bound:
    """The bound over a set of images.

    Attributes:
      bits_per_dim: the mean over the images, bits per dimension of the image. None: the model's code has no density,
        or the mean is not finite.
      standard_error: the standard error of `bits_per_dim` as an estimate for the distribution of the images. It
        contains the spread between images, and the part of the noise that `draws` draws do not average out. None if
        `bits_per_dim` is None or there is only one image.
      by_level: each level's share of `bits_per_dim`; None where it is not finite.
      loss: the mean of the weighted training loss, bits. Use it to compare models whose code has no density. None:
        not finite.
      images: the number of images.
      draws: the number of draws of the noise for each image.
      draw_standard_error: the part of the error that is due to the noise: the standard error of `bits_per_dim` as an
        estimate of the mean over these same images with infinitely many draws. None if `bits_per_dim` is None or
        there is one draw.
      not_finite_images: the number of images whose bits per dimension are not finite in some draw. If there are any,
        `bits_per_dim` is None. 0 if the model's code has no density.
    """

    bits_per_dim: float | None
    standard_error: float | None
    by_level: dict[str, float | None]
    loss: float | None
    images: int
    draws: int = 1
    draw_standard_error: float | None = None
    not_finite_images: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        """One line for a person."""
        missing = f"({self._not_finite()})" if self.not_finite_images else "undefined (a level has no noise)"
        bits = missing if self.bits_per_dim is None else f"{self.bits_per_dim:.4f}"
        error = "" if self.standard_error is None else f" +- {self.standard_error:.4f}"
        loss = "not finite" if self.loss is None else f"{self.loss:.4f}"
        draws = self._draws()
        return f"held-out bits/dim {bits}{error}  loss {loss}  ({self.images} images{draws})"

    def _draws(self) -> str:
        return "" if self.draws == 1 else f", {self.draws} draws of the noise"

    def _not_finite(self) -> str:
        return f"not finite: {self.not_finite_images:,} of {self.images:,} images"

    def table(self) -> list[str]:
        """Lines for a person: the mean, then each level's share with the finest level first, then the loss."""
        if self.bits_per_dim is None and self.not_finite_images:
            total = self._not_finite()
        elif self.bits_per_dim is None:
            total = "none: a level has no noise, so the code has no density; compare by distances and the loss"
        else:
            error = "" if self.standard_error is None else f" +- {self.standard_error:.4f}"
            total = f"{self.bits_per_dim:.4f}{error}"
        lines = [f"{'bits/dim':<28}{total}   ({self.images:,} images{self._draws()})"]
        missing = "not finite" if self.not_finite_images else "undefined"
        for level, share in reversed(self.by_level.items()):
            lines.append(f"  level {level:<20}" + (missing if share is None else f"{share:.4f}"))
        return [*lines, f"{'loss, bits':<28}" + ("not finite" if self.loss is None else f"{self.loss:.4f}")]


def make_batch_bound(model: ImageModel, config: ConfigDict, where: jax.sharding.Sharding | None = None) -> BatchBound:
    """Makes a jitted function that computes the bound of every image of a batch.

    Make it once and share it between evaluations.

    Args:
      model: the model.
      config: the whole config.
      where: the sharding of the results; None: the compiler's choice.

    Returns:
      (params, images (B, R, R, 3) uint8, indices (B,) int32, draw () uint32) -> {"loss", "bits_per_dim",
      "bits/LEVEL": (B,)}. `params` may be prepared.
    """
    image_bound = make_image_bound(model, config)
    return jax.jit(
        lambda params, images, indices, draw: image_bound(params, images, indices, None, draw), out_shardings=where
    )


def _valid(values: Mapping[str, Array], valid: np.ndarray | Array) -> dict[str, np.ndarray]:
    return {name: np.asarray(v, np.float64)[np.asarray(valid)] for name, v in values.items()}


def _mean(values: np.ndarray) -> float | None:
    mean = float(values.mean())
    return mean if math.isfinite(mean) else None


def image_values(
    params: Any, batches: Iterable[Mapping[str, np.ndarray]], batch_bound: BatchBound, draws: int = 1
) -> Values:
    """The loss and the bits per dimension of every valid image, for every draw of the noise.

    Args:
      params: the parameters, prepared or not. Prepared parameters save work in every batch.
      batches: as in `bound`.
      batch_bound: from `make_batch_bound`.
      draws: the number of draws of the noise.

    Returns:
      {"loss", "bits_per_dim", "bits/LEVEL": (n, draws)}, float64; empty if there is no batch.
    """
    rows: list[dict[str, np.ndarray]] = []
    pending = None
    for batch in batches:
        indices = batch["indices"].astype(np.int32)  # fold_in takes 32 bits
        for draw in range(draws):
            # A result is read after the next one is dispatched, so the device never waits.
            current = batch_bound(params, batch["images"], indices, np.uint32(draw)), batch["valid"]
            if pending is not None:
                rows.append(_valid(*pending))
            pending = current
    if pending is not None:
        rows.append(_valid(*pending))
    names = rows[0] if rows else {}
    by_draw = {name: [np.concatenate([row[name] for row in rows[d::draws]]) for d in range(draws)] for name in names}
    return {name: np.stack(values, -1) for name, values in by_draw.items()}


def summary(model: ImageModel, values: Values) -> Bound:
    """Computes the bound from the values of the images.

    Args:
      model: the model.
      values: the result of `image_values` for all images.

    Raises:
      InputError: there is no image.
    """
    if not len(values.get("loss", ())):
        raise InputError("the bound needs at least one held-out image: see eval.images and data.eval_images")
    bits = values["bits_per_dim"]
    images, draws = bits.shape
    defined = model.likelihood != "undefined"
    mean = _mean(bits) if defined else None
    error = draw_error = None
    if mean is not None and images > 1:
        error = float(bits.mean(-1).std(ddof=1) / math.sqrt(images))
    if mean is not None and draws > 1:
        draw_error = float(math.sqrt(bits.var(-1, ddof=1).mean() / (images * draws)))
    return Bound(
        bits_per_dim=mean,
        standard_error=error,
        by_level={level: _mean(values[f"bits/{level}"]) for level in model.level_names},
        loss=_mean(values["loss"]),
        images=images,
        draws=draws,
        draw_standard_error=draw_error,
        not_finite_images=int((~np.isfinite(bits)).any(-1).sum()) if defined else 0,
    )


def bound(
    model: ImageModel,
    params: Any,
    batches: Iterable[Mapping[str, np.ndarray]],
    config: ConfigDict,
    batch_bound: BatchBound | None = None,
) -> Bound:
    """Computes the held-out bound, with noise. Images that only fill the last batch are not counted.

    Args:
      model: the model.
      params: its parameters (usually the EMA), prepared or not. Prepared parameters save work in every batch.
      batches: from `data.pipeline.eval_batches`: images (B, R, R, 3) uint8, indices (B,), valid (B,) bool; on the
        host or on devices.
      config: the whole config; `eval.draws` is the number of draws of the noise.
      batch_bound: from `make_batch_bound`; None: it is made here.

    Raises:
      InputError: there is no valid image.
    """
    batch_bound = batch_bound or make_batch_bound(model, config)
    return summary(model, image_values(params, batches, batch_bound, config.eval.draws))
