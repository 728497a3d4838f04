"""The kernel distance (KID): an unbiased estimate of the squared maximum mean discrepancy between two sets."""

import dataclasses

import numpy as np
from jaxtyping import Float

from hcflow_jax.errors import InputError

SUBSETS, SUBSET_SIZE = 100, 1000  # what evaluations of images use


@dataclasses.dataclass(frozen=True)
class KernelDistance:
    """KID.

    Attributes:
      mean: over the subsets.
      spread: standard deviation over the subsets.
      subsets: how many.
      size: features of each set in a subset.
      seed: the seed of the subsets.
    """

    mean: float
    spread: float
    subsets: int
    size: int
    seed: int


def mmd(a: Float[np.ndarray, "m d"], b: Float[np.ndarray, "n d"]) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel k(x, y) = (x.y / d + 1)^3, in float64.

    mean over i != j of k(a_i, a_j) + mean over i != j of k(b_i, b_j) - 2 mean of k(a_i, b_j). Its expected value is 0
    for two sets of one distribution, so it can be negative.

    Args:
      a: features, at least 2.
      b: features of the same length, at least 2.

    Raises:
      InputError: for fewer features, or different lengths.
    """
    check_pair(a, b)
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def within(x: np.ndarray) -> float:
        kernel = _kernel(x, x)
        return (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * _kernel(a, b).mean())


def kernel_distance(
    a: Float[np.ndarray, "m d"],
    b: Float[np.ndarray, "n d"],
    *,
    subsets: int = SUBSETS,
    size: int = SUBSET_SIZE,
    seed: int = 0,
) -> KernelDistance:
    """KID: `mmd` of random subsets, without replacement within each.

    Args:
      a: features.
      b: features of the same length.
      subsets: how many subsets.
      size: features of each set in a subset; where a set has fewer, as many as the smaller set has.
      seed: the seed of the subsets.

    Raises:
      InputError: as `mmd`.
    """
    check_pair(a, b)
    size = min(size, len(a), len(b))
    rng = np.random.default_rng(seed)
    found = [
        mmd(a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)])
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(found)), float(np.std(found)), subsets, size, seed)


def check_pair(a: np.ndarray, b: np.ndarray) -> None:
    """Raises InputError unless both are finite features of one length, at least 2 of each."""
    for name, features in (("the first features", a), ("the second features", b)):
        if np.ndim(features) != 2 or len(features) < 2:
            raise InputError(f"{name}: expected (n, d) with n at least 2, got {np.shape(features)}")
        if not np.isfinite(features).all():
            raise InputError(f"{name}: some are not finite (NaN or infinite)")
    if a.shape[1] != b.shape[1]:
        raise InputError(f"features of {a.shape[1]} and of {b.shape[1]} dimensions cannot be compared")


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # several times faster than a power
