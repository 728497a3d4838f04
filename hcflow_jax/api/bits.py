"""Bits per dimension of images: chooses the statistics for the likelihood, and holds the result."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from hcflow_jax.api.images import Floats, Images
from hcflow_jax.errors import InputError
from hcflow_jax.models import ImageModel

Wanted = Literal["auto", "own", "stored"]
Used = Literal["own groups", "stored"]


class Bits(dict[str, Float[np.ndarray, " n"]]):
    """Bits per dimension by level, and "total".

    Attributes:
      statistics: "own groups": images of a batch unit shared their statistics, as in training. "stored": each image
        used the means that are stored with the model, and no image influenced another.
    """

    def __init__(self, by_name: Mapping[str, Float[np.ndarray, " n"]], statistics: Used):
        """Stores the arrays by name."""
        super().__init__(by_name)
        self.statistics: Used = statistics


def choose(model: ImageModel, count: int, wanted: Wanted, stored: Mapping[str, float]) -> Used:
    """Chooses the statistics for `count` images.

    Raises:
      InputError: the wanted statistics are not available, or the model has no likelihood.
    """
    if model.likelihood == "undefined":
        raise InputError("bits per dimension are undefined for this model, because one of its levels has no noise")
    if wanted not in ("auto", "own", "stored"):
        raise InputError(f"statistics is auto, own or stored, not {wanted!r}")
    unit = model.batch_unit
    if unit == 1:
        return "own groups"
    if wanted == "own" and count < unit:
        raise InputError(f"images are {count}: the likelihood with their own statistics needs at least {unit} images")
    if wanted == "own" or wanted == "auto" and count >= unit:
        return "own groups"
    if not stored:
        raise InputError(
            f"the likelihood of {count} images needs statistics that are stored with the model, and it has none: "
            f"call measure_statistics() first, which measures held-out images, or give at least {unit} images"
        )
    return "stored"


def noise_scale(model: ImageModel, stored: Mapping[str, float]) -> Mapping[str, float]:
    """Returns the stored statistics, which scale the noise of the encoder.

    Raises:
      InputError: the encoder has no noise, or no statistics are stored.
    """
    if not model.noisy_encoder:
        raise InputError("noise_seed: the encoder of this model has no noise, so leave noise_seed out")
    if not stored:
        raise InputError(
            "noise_seed: the scale of the noise is not stored with this model: call measure_statistics() first, "
            "which measures it on images"
        )
    return stored


def whole_units(count: int, unit: int) -> Int[np.ndarray, " m"]:
    """Image numbers in whole units: 0, 1, ... If the last unit is not full, it becomes the last `unit` images."""
    left = np.arange(count - unit, count) if count % unit else []
    return np.concatenate([np.arange(count // unit * unit), left]).astype(np.int32)


def in_units(images: Images | Floats, unit: int) -> tuple[Any, Int[np.ndarray, "u b"]]:
    """Groups images into units: (u, unit, R, R, 3), and their numbers (u, unit). Drops the remaining images.

    Raises:
      InputError: there is no whole unit.
    """
    units = len(images) // unit
    if units < 1:
        raise InputError(f"images are {len(images)}: statistics need at least {unit}")
    numbers = np.arange(units * unit, dtype=np.int32)
    return images[: units * unit].reshape(units, unit, *images.shape[1:]), numbers.reshape(units, unit)


def as_arrays(statistics: Mapping[str, float]) -> dict[str, np.float32]:
    """Converts statistics to the arrays that a program expects."""
    return {name: np.float32(value) for name, value in statistics.items()}
