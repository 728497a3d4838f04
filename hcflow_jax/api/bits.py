"""Bits per dimension of images: which statistics their likelihood takes, and what comes out."""

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
        took the means that are stored with the model, and no image influenced another.
    """

    def __init__(self, by_name: Mapping[str, Float[np.ndarray, " n"]], statistics: Used):
        """Takes the arrays by name."""
        super().__init__(by_name)
        self.statistics: Used = statistics


def choose(model: ImageModel, count: int, wanted: Wanted, stored: Mapping[str, float]) -> Used:
    """Which statistics `count` images take.

    Raises:
      InputError: the wanted statistics are not available, or the model has no likelihood.
    """
    if model.likelihood == "undefined":
        raise InputError("bits per dimension are undefined for this model: a level of it has no noise")
    if wanted not in ("auto", "own", "stored"):
        raise InputError(f"statistics is auto, own or stored, not {wanted!r}")
    unit = model.batch_unit
    if unit == 1:
        return "own groups"
    if wanted == "own" and count < unit:
        raise InputError(
            f"images are {count}: with statistics of their own the likelihood needs at least {unit} images"
        )
    if wanted == "own" or wanted == "auto" and count >= unit:
        return "own groups"
    if not stored:
        raise InputError(
            f"the likelihood of {count} images takes statistics that are stored with a model, and this one has none: "
            f"call measure_statistics() first, which looks at held-out images, or give at least {unit} images"
        )
    return "stored"


def whole_units(count: int, unit: int) -> Int[np.ndarray, " m"]:
    """Image numbers in whole units: 0, 1, ...; a last unit that is not full becomes the last `unit` images."""
    left = np.arange(count - unit, count) if count % unit else []
    return np.concatenate([np.arange(count // unit * unit), left]).astype(np.int32)


def in_units(images: Images | Floats, unit: int) -> tuple[Any, Int[np.ndarray, "u b"]]:
    """Images (u, unit, R, R, 3) and their numbers (u, unit); what is left over is left out.

    Raises:
      InputError: there is no whole unit.
    """
    units = len(images) // unit
    if units < 1:
        raise InputError(f"images are {len(images)}: statistics are taken over {unit} at least")
    numbers = np.arange(units * unit, dtype=np.int32)
    return images[: units * unit].reshape(units, unit, *images.shape[1:]), numbers.reshape(units, unit)


def as_arrays(statistics: Mapping[str, float]) -> dict[str, np.float32]:
    """Statistics as a program takes them."""
    return {name: np.float32(value) for name, value in statistics.items()}
