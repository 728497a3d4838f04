"""Images as users have them, uint8 or floats in [0, 1]: checked before anything is computed."""

import numpy as np
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from hcflow_jax import data
from hcflow_jax.errors import InputError

Images = UInt8[np.ndarray, "n R R 3"]
Floats = Float[np.ndarray, "n R R 3"]
_ROUNDING = 1e-3  # how far outside [0, 1] a float image may be, to allow for how it was made


def check(images: Images | Floats, resolution: int) -> Images | Floats:
    """Images as the model takes them.

    Args:
      images: (n, R, R, 3), or one image (R, R, 3): uint8, or floats in [0, 1].
      resolution: R, pixels.

    Returns:
      (n, R, R, 3), uint8 or float32.

    Raises:
      InputError: for another shape or dtype, or for values that are not in [0, 1].
    """
    array = np.asarray(images)
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[1:] != (resolution, resolution, 3) or not len(array):
        expected = f"(n, {resolution}, {resolution}, 3)"
        raise InputError(f"images have shape {np.shape(images)}; the model takes {expected}, channels last")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "biuc" or array.dtype.kind not in "fV":  # "V": bfloat16
        raise InputError(f"images are {array.dtype}; the model takes uint8, or floats in [0, 1]")
    array = array.astype(np.float32)
    low, high = float(array.min()), float(array.max())  # NaN where any value is
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise InputError(f"float images lie in [0, 1], these in [{low:.4g}, {high:.4g}]")
    return array


def held_out(config: ConfigDict, count: int) -> Images:
    """The first held-out images of the data that a model was trained with.

    Args:
      config: the whole config.
      count: how many; all of them where there are fewer.

    Returns:
      (n, R, R, 3), uint8.

    Raises:
      DataError: the data is not where the config says.
    """
    source = data.open_source(config, "eval")
    return np.stack([source[i] for i in range(min(count, len(source)))])
