"""JAX's settings that this package's programs are written for, whatever the process has set."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def promotion() -> Iterator[None]:
    """Mixed dtypes and ranks are promoted, as NumPy does it. It is a decorator, too."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@contextmanager
def own() -> Iterator[None]:
    """Traces and runs programs under these settings. It is a decorator, too.

    Mixed dtypes and ranks are promoted, arrays are copied to and from the devices as needed, and a key gives the same
    draws under any setting. What else the user set stays: 64 bits, the precision of products, checks for NaN.
    """
    with promotion(), jax.transfer_guard("allow"), jax.threefry_partitionable(True):
        yield
