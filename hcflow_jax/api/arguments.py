"""Checks of the arguments of `Model`'s methods, before anything is computed."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hcflow_jax.api.latents import Latents
from hcflow_jax.api.programs import DTYPES
from hcflow_jax.errors import InputError
from hcflow_jax.models import ImageModel
from hcflow_jax.models.base import level_error

Sigma = float | Mapping[str, float]
Levels = str | Iterable[str]


def known_dtype(dtype: str) -> str:
    """One of `DTYPES`, or an InputError."""
    if dtype not in DTYPES:
        raise InputError(f"dtype is {' or '.join(DTYPES)}, not {dtype!r}")
    return dtype


def known_levels(model: ImageModel, levels: Levels) -> tuple[str, ...]:
    """Names of levels that the model has, or an InputError."""
    names = (levels,) if isinstance(levels, str) else tuple(levels)
    for name in names:
        if name not in model.level_names:
            raise InputError(level_error(name, model.level_names))
    return names


def _is_whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)


def known_seed(seed: int) -> np.uint32:
    """A seed of 32 bits, or an InputError."""
    if not _is_whole(seed) or not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}: expected a whole number, 0 to {2**32 - 1}")
    return np.uint32(seed)


def indices(n: int, first: int) -> np.ndarray:
    """Numbers of images: (n,) uint32 from `first` on, or an InputError."""
    if not (_is_whole(n) and _is_whole(first)) or n < 1 or first < 0:
        raise InputError(f"n is {n} and first {first}: whole numbers, at least one image, numbered from 0")
    return np.arange(first, first + n, dtype=np.uint32)


def sigmas(model: ImageModel, sigma: Sigma) -> np.ndarray:
    """Standard deviations: (levels,) float32, coarse to fine, or an InputError.

    Args:
      model: the model.
      sigma: of `model.scaled_levels`, or one by level name; 1 for all others.
    """
    named = dict(sigma) if isinstance(sigma, Mapping) else dict.fromkeys(model.scaled_levels, sigma)
    known_levels(model, named)
    values = np.array([named.get(name, 1.0) for name in model.level_names], np.float32)
    if not np.isfinite(values).all() or (values < 0).any():
        raise InputError(f"sigma is {sigma}: a number that is not negative, or one by level")
    return values


def known_latents(model: ImageModel, latents: Latents, first: str | None = None, stop: str | None = None) -> Any:
    """Arrays by level of latents that are the model's, or an InputError.

    Args:
      model: the model.
      latents: of n images.
      first: the coarsest level that is looked at; None: the model's. Latents of the others may be missing.
      stop: the finest level that is not looked at; None: all from `first` on are.

    Returns:
      {level: (n, *shape) float32}.
    """
    names = model.level_names
    wanted = names[names.index(first) if first else 0 : names.index(stop) if stop else None]
    if first is None and stop is None and set(latents.names) != set(wanted) or not set(wanted) <= set(latents.names):
        have, takes = (", ".join(found) for found in (latents.names, wanted))
        raise InputError(f"latents have levels {have}; the model takes {takes}")
    arrays = {name: np.asarray(latents[name], np.float32) for name in wanted}
    for name, array in arrays.items():
        shape = (len(latents), *model.latent_shapes[name])
        if array.shape != shape or not len(array):
            raise InputError(f"latents of level {name} have shape {array.shape}; the model takes {shape}")
    return arrays
