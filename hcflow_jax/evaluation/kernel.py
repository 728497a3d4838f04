"""The kernel distance (KID): an unbiased estimate of the squared maximum mean discrepancy (MMD) of two sets."""

import dataclasses

import numpy as np
from jaxtyping import Float

from hcflow_jax.errors import InputError

SUBSETS, SUBSET_SIZE = 100, 1000  # the usual values for KID


@dataclasses.dataclass(frozen=True)
class KernelDistance:
    """A kernel distance (KID).

    Attributes:
      mean: the mean over the subsets.
      spread: the standard deviation over the subsets.
      subsets: the number of subsets.
      size: the number of features of each set in a subset.
      seed: the seed of the subsets.
    """

    mean: float
    spread: float
    subsets: int
    size: int
    seed: int


def mmd(a: Float[np.ndarray, "m d"], b: Float[np.ndarray, "n d"]) -> float:
    """The unbiased squared maximum mean discrepancy with the kernel k(x, y) = (x.y / d + 1)^3, in float64.

    It is mean k(a_i, a_j) over i != j, plus mean k(b_i, b_j) over i != j, minus 2 mean k(a_i, b_j). Its expected
    value is 0 if both sets have the same distribution, so it can be negative.

    Args:
      a: features, at least 2.
      b: features of the same length, at least 2.

    Raises:
      InputError: there are fewer features, they have different lengths, or they are not finite.
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
    """The KID: the mean of `mmd` over random subsets. Each subset is drawn without replacement.

    Args:
      a: features.
      b: features of the same length.
      subsets: the number of subsets.
      size: the number of features of each set in a subset. If a set has fewer, the size of the smaller set is used.
      seed: the seed of the subsets.

    Raises:
      InputError: as in `mmd`.
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
    """Raises InputError unless a and b contain at least 2 features each, all finite and of the same length."""
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
