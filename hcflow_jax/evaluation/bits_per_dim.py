"""The held-out bound: bits per dimension of the image under the noisy model, entropies included (Section 5).

An upper bound on the negative log-likelihood and a Monte Carlo estimate of it: every image gets noise of its
own, drawn from its index, so the figure depends on neither the batch size's remainder nor the order of
evaluation.
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

BatchBound = Callable[[Any, UInt8[np.ndarray, "B R R 3"], Int[np.ndarray, " B"]], dict[str, Float[Array, " B"]]]


@dataclasses.dataclass(frozen=True)
class Bound:
    """The bound over a set of images.

    Attributes:
      bits_per_dim: mean, bits per dimension of the image; None for a model whose code has no density.
      standard_error: of that mean over the images (one noise draw each); None with it, or for a single image.
      by_level: each level's share of `bits_per_dim`; None where it is undefined.
      loss: mean of the training loss, bits, weighted: what models without a density are compared by.
      images: how many images were counted.
    """

    bits_per_dim: float | None
    standard_error: float | None
    by_level: dict[str, float | None]
    loss: float | None
    images: int

    def as_dict(self) -> dict[str, Any]:
        """As nested plain values, for JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        """One line for a person."""
        bits = "undefined (a level has no noise)" if self.bits_per_dim is None else f"{self.bits_per_dim:.4f}"
        error = "" if self.standard_error is None else f" +- {self.standard_error:.4f}"
        loss = "not finite" if self.loss is None else f"{self.loss:.4f}"
        return f"held-out bits/dim {bits}{error}  loss {loss}  ({self.images} images)"


def make_batch_bound(model: ImageModel, config: ConfigDict, where: jax.sharding.Sharding | None = None) -> BatchBound:
    """The bound of every image of a batch, jitted; make it once and share it between evaluations.

    Args:
      model: the model.
      config: the whole config.
      where: what it gives is to lie; None: wherever the compiler leaves it.

    Returns:
      (params, images (B, R, R, 3) uint8, indices (B,) int32) -> {"loss", "bits_per_dim", "bits/LEVEL": (B,)}.
      `params` may be prepared.
    """
    return jax.jit(make_image_bound(model, config), out_shardings=where)


def _valid(values: Mapping[str, Array], valid: np.ndarray | Array) -> dict[str, np.ndarray]:
    return {name: np.asarray(v, np.float64)[np.asarray(valid)] for name, v in values.items()}


def _mean(values: np.ndarray) -> float | None:
    mean = float(values.mean())
    return mean if math.isfinite(mean) else None


def bound(
    model: ImageModel,
    params: Any,
    batches: Iterable[Mapping[str, np.ndarray]],
    config: ConfigDict,
    batch_bound: BatchBound | None = None,
) -> Bound:
    """The held-out bound. Noise is on; images that only complete the last batch are left out.

    Args:
      model: the model.
      params: its parameters (the EMA, as a rule), prepared or not; prepared ones save work in every batch.
      batches: as `data.pipeline.eval_batches` gives them: images (B, R, R, 3) uint8, indices (B,), valid (B,)
        bool; on the host or on devices.
      config: the whole config.
      batch_bound: what `make_batch_bound` returned, where it is at hand.

    Raises:
      InputError: there is no valid image.
    """
    batch_bound = batch_bound or make_batch_bound(model, config)
    rows: list[dict[str, np.ndarray]] = []
    pending = None
    for batch in batches:
        # fold_in takes 32 bits. A batch is read once the next one was dispatched: the device never waits.
        current = batch_bound(params, batch["images"], batch["indices"].astype(np.int32)), batch["valid"]
        if pending is not None:
            rows.append(_valid(*pending))
        pending = current
    if pending is not None:
        rows.append(_valid(*pending))
    values = {name: np.concatenate([row[name] for row in rows]) for name in (rows[0] if rows else {})}
    images = len(values.get("loss", ()))
    if images == 0:
        raise InputError("the bound needs at least one held-out image: see eval.images and data.eval_images")

    bits = values["bits_per_dim"]
    mean = None if model.likelihood == "undefined" else _mean(bits)
    return Bound(
        bits_per_dim=mean,
        standard_error=float(bits.std(ddof=1) / math.sqrt(images)) if mean is not None and images > 1 else None,
        by_level={level: _mean(values[f"bits/{level}"]) for level in model.level_names},
        loss=_mean(values["loss"]),
        images=images,
    )
