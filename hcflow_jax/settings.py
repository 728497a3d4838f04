"""The settings of JAX that this package's programs need. They replace those of the process while programs run."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def promotion() -> Iterator[None]:
    """Mixed dtypes and ranks are promoted, as in NumPy. A context manager and a decorator."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@contextmanager
def own() -> Iterator[None]:
    """Programs are traced and run with these settings. A context manager and a decorator.

    Mixed dtypes and ranks are promoted, arrays are copied to and from the devices as needed, and the draws of a key
    do not depend on the user's settings. Other settings of the user stay: 64 bits, the precision of products, checks
    for NaN.
    """
    with promotion(), jax.transfer_guard("allow"), jax.threefry_partitionable(True):
        yield
