"""The key from which all random numbers of a run, or of an evaluation, are derived."""

import jax
import numpy as np
from jaxtyping import Array, Key


def root_key(seed: int | Array) -> Key[Array, ""]:
    """A threefry key from the lowest 32 bits of a seed. It does not depend on JAX's settings.

    Args:
      seed: a whole number, or a uint32 array ().
    """
    low = seed if isinstance(seed, jax.Array) else np.uint32(int(seed) % 2**32)  # with x64, JAX would use 64 bits
    return jax.random.key(low, impl="threefry2x32")
