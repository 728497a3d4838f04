"""Checks images from users, uint8 or floats in [0, 1], before anything is computed."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from hcflow_jax import data
from hcflow_jax.api.arguments import whole
from hcflow_jax.errors import InputError

Images = UInt8[np.ndarray, "n R R 3"]
Floats = Float[np.ndarray, "n R R 3"]
_ROUNDING = 1e-3  # how far outside [0, 1] a float image may be, because of rounding


def check(images: Images | Floats, resolution: int) -> Images | Floats:
    """Checks images and converts them for the model.

    Args:
      images: (n, R, R, 3), or one image (R, R, 3): uint8, or floats in [0, 1].
      resolution: R, pixels.

    Returns:
      (n, R, R, 3), uint8 or float32.

    Raises:
      InputError: the shape or the dtype is wrong, or a float is not in [0, 1].
    """
    try:
        array = np.asarray(images)
    except ValueError as error:
        raise InputError(f"images cannot be converted to an array: {error}") from error
    given = array.shape
    array = array[None] if array.ndim == 3 else array
    expected = f"(n, {resolution}, {resolution}, 3)"
    if array.ndim != 4 or array.shape[1:] != (resolution, resolution, 3):
        raise InputError(f"images have shape {given}; the model expects {expected}, channels last")
    if not len(array):
        raise InputError(
            f"images have shape {given}, so there is no image; the model expects {expected}, at least one"
        )
    if array.dtype == np.uint8:
        return array
    if not jnp.issubdtype(array.dtype, np.floating):
        raise InputError(f"images are {array.dtype}; the model expects uint8, or floats in [0, 1]")
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused below
        array = array.astype(np.float32)
    low, high = float(array.min()), float(array.max())  # NaN where any value is
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        hint = "; divide by 255, or make them uint8" if 1 < high <= 255 and low >= 0 else ""
        raise InputError(f"float images must lie in [0, 1], but these lie in [{low:.4g}, {high:.4g}]{hint}")
    return array


def held_out(config: ConfigDict, count: int) -> Images:
    """The first held-out images of the data that a model was trained with.

    Args:
      config: the whole config.
      count: how many, at least 1; all of them if there are fewer.

    Returns:
      (n, R, R, 3), uint8.

    Raises:
      InputError: the count is not a whole number, or is below 1.
      DataError: the data is not where the config says.
    """
    count = whole("count", count, 1, what="at least one image")
    source = data.open_source(config, "eval")
    return np.stack(list(data.several(source, range(min(count, len(source))))))
