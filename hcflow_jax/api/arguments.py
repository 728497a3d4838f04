"""Checks the arguments of `Model`'s methods, before anything is computed."""

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from hcflow_jax.api.latents import Latents
from hcflow_jax.api.programs import DTYPES
from hcflow_jax.errors import InputError
from hcflow_jax.models import ImageModel
from hcflow_jax.models.base import level_error

Sigma = float | Mapping[str, float]
Levels = str | Iterable[str]

_SEEDS = _NUMBERS = 2**32  # seeds, and images of one seed


def known_dtype(dtype: str) -> str:
    """Returns the dtype if it is one of `DTYPES`; otherwise raises an InputError."""
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InputError(f"dtype is {' or '.join(map(repr, DTYPES))}, not {dtype!r}")
    return dtype


def known_denoise(config: ConfigDict, denoise: bool) -> bool:
    """Returns whether samples are denoised; raises an InputError if that is impossible."""
    if denoise and config.data.noise_std == 0:
        raise InputError(
            "denoise: data.noise_std is 0, so the model was trained without noise and there is none to remove"
        )
    return bool(denoise)


def known_levels(model: ImageModel, levels: Levels) -> tuple[str, ...]:
    """Returns the names of levels; raises an InputError if the model lacks one."""
    names: tuple[Any, ...]
    try:
        names = (levels,) if isinstance(levels, str | bytes) else tuple(levels)
    except TypeError:  # not iterable
        names = (levels,)
    for name in names:
        known_level(model, name)
    return names


def known_level(model: ImageModel, level: str) -> str:
    """Returns the name of one level; raises an InputError if the model lacks it."""
    if not isinstance(level, str):
        raise InputError(f"levels are named by text, such as {model.level_names[-1]!r}, not by {level!r}")
    if level not in model.level_names:
        raise InputError(level_error(level, model.level_names))
    return level


def known_space(model: ImageModel, space: str) -> str:
    """Returns the name of a space; raises an InputError if the model does not interpolate in it."""
    if space not in model.spaces:
        raise InputError(f"space is {' or '.join(model.spaces)}, not {space!r}")
    return space


def whole(name: str, number: Any, least: int, below: float = math.inf, what: str = "") -> int:
    """Converts a whole number of Python, NumPy or JAX to int; otherwise raises an InputError that names the argument.

    Args:
      name: the name of the argument.
      number: the given value; a boolean is not a number.
      least: the smallest allowed number.
      below: the number must be smaller than this.
      what: describes the bounds in the message, if the numbers are not enough.
    """
    try:
        found = None if isinstance(number, bool) else operator.index(number)
    except TypeError:
        found = None
    if found is None or not least <= found < below:
        bounds = what or (f"{least} or more" if below == math.inf else f"{least} to {int(below) - 1}")
        raise InputError(f"{name} is {number!r}: expected a whole number, {bounds}")
    return found


def known_seed(seed: int, name: str = "seed") -> np.uint32:
    """Returns a seed of 32 bits; otherwise raises an InputError that names the argument."""
    return np.uint32(whole(name, seed, 0, _SEEDS))


def numbers(n: int, first: int) -> range:
    """Returns the numbers of n images, starting at `first`; raises an InputError if a seed has no such images."""
    start = whole("first", first, 0, _NUMBERS)
    count = whole("n", n, 1, what="at least one image")
    if start + count > _NUMBERS:
        raise InputError(f"n is {count} from image {start} on: a seed has the images 0 to {_NUMBERS - 1}")
    return range(start, start + count)


def sigmas(model: ImageModel, sigma: Sigma) -> np.ndarray:
    """Returns standard deviations, (levels,) float32, coarse to fine; raises an InputError if one is not allowed.

    Args:
      model: the model.
      sigma: the sigma of `model.scaled_levels`, or one by level name; 1 for all others.
    """
    named = dict(sigma) if isinstance(sigma, Mapping) else dict.fromkeys(model.scaled_levels, sigma)
    known_levels(model, named)
    wanted = named if isinstance(sigma, Mapping) else {"": sigma}  # checked even if no level uses it
    if not all(_is_std(value) for value in wanted.values()):
        raise InputError(f"sigma is {sigma!r}: expected a number that is not negative, or one by level")
    return np.array([float(named.get(name, 1.0)) for name in model.level_names], np.float32)


def _is_std(value: Any) -> bool:
    if isinstance(value, bool | np.bool_ | str | bytes):
        return False
    try:
        number = math.nan if np.ndim(value) else float(value)
    except (TypeError, ValueError):
        return False
    return 0 <= number <= float(np.finfo(np.float32).max)


def are_latents(latents: Any, name: str = "latents") -> Latents:
    """Returns latents of at least one image; otherwise raises an InputError that names the argument."""
    if not isinstance(latents, Latents):
        raise InputError(
            f"{name} is {type(latents).__name__}: expected Latents; Latents.from_dict makes them from arrays"
        )
    if not len(latents):
        raise InputError(f"{name}: contain no image; expected at least one")
    return latents


def known_latents(model: ImageModel, latents: Latents, first: str | None = None, stop: str | None = None) -> Any:
    """Returns the arrays of latents by level; raises an InputError if they do not fit the model.

    Args:
      model: the model.
      latents: the latents of n images.
      first: the coarsest level to check; None: the coarsest of the model. Coarser levels may be missing.
      stop: checking stops before this level; None: at the finest level. Finer levels may be missing.

    Returns:
      {level: (n, *shape) float32}.
    """
    are_latents(latents)
    names = model.level_names
    wanted = names[names.index(first) if first else 0 : names.index(stop) if stop else None]
    if first is None and stop is None and set(latents.names) != set(wanted) or not set(wanted) <= set(latents.names):
        have, takes = (", ".join(found) for found in (latents.names, wanted))
        raise InputError(f"latents have levels {have}; the model expects {takes}")
    count = len(latents)
    return {name: _known_array(latents[name], name, (count, *model.latent_shapes[name])) for name in wanted}


def _known_array(given: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError(f"latents of level {name} are not an array: {error}") from error
    if array.shape != shape:
        raise InputError(f"latents of level {name} have shape {array.shape}; the model expects {shape}")
    if not (jnp.issubdtype(array.dtype, np.floating) or jnp.issubdtype(array.dtype, np.integer)):
        raise InputError(f"latents of level {name} are {array.dtype}; the model expects floats")
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused below
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise InputError(f"latents of level {name} have values that are not finite")
    return array
