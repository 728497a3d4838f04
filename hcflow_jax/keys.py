"""The key that everything random of a run or of an evaluation is drawn from."""

import jax
import numpy as np
from jaxtyping import Array, Key


def root_key(seed: int | Array) -> Key[Array, ""]:
    """key(seed), the same one whatever JAX's settings: threefry, of the seed's lowest 32 bits.

    Args:
      seed: a whole number, or a uint32 array ().
    """
    low = seed if isinstance(seed, jax.Array) else np.uint32(int(seed) % 2**32)  # with x64 JAX would take 64 of them
    return jax.random.key(low, impl="threefry2x32")
