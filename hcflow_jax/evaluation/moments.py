"""Mean and covariance of features, summed in float64 batch by batch."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from hcflow_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Statistics:
    """The mean and covariance of features: the Gaussian that the Frechet distance compares.

    Attributes:
      mu: mean, (d,) float64.
      sigma: covariance, (d, d) float64.
      count: the number of features; None if a file does not state it.
    """

    mu: Float[np.ndarray, " d"]
    sigma: Float[np.ndarray, "d d"]
    count: int | None = None


def as_statistics(mu: np.ndarray, sigma: np.ndarray, count: int | None = None) -> Statistics:
    """Checks the arrays of a file and makes statistics from them.

    Args:
      mu: mean, (d,), any float dtype.
      sigma: covariance, (d, d), any float dtype.
      count: the number of features, if it is known.

    Raises:
      InputError: the shapes or types are not those of a mean and a covariance, or values are not finite.
    """
    mu, sigma = np.asarray(mu), np.asarray(sigma)
    if mu.dtype.kind != "f" or sigma.dtype.kind != "f" or mu.ndim != 1 or sigma.shape != (mu.size, mu.size):
        raise InputError(
            f"mu is {mu.dtype} {mu.shape} and sigma {sigma.dtype} {sigma.shape}; expected floats (d,) and (d, d)"
        )
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise InputError("mu or sigma has values that are not finite (NaN or infinite)")
    return Statistics(mu.astype(np.float64), sigma.astype(np.float64), count)


class Moments:
    """Sums of features and of their products. `statistics` computes the mean and the covariance from them.

    Features may come in batches of any size. The sums of several devices, hosts or parts of a set can be added
    (`merge`). The result is the same up to rounding in float64. Memory does not grow with the number of features.

    >>> moments = Moments(2)
    >>> for batch in (np.array([[0.0, 1.0]]), np.array([[2.0, 1.0], [4.0, 4.0]])):
    ...     moments.add(batch)
    >>> moments.statistics().mu
    array([2., 2.])
    """

    def __init__(self, dims: int) -> None:
        """Makes empty sums.

        Args:
          dims: d, the length of a feature.
        """
        self.dims, self.count = dims, 0
        self._sum, self._products = np.zeros(dims), np.zeros((dims, dims))
        self._origin: np.ndarray | None = None

    def add(self, features: Float[np.ndarray, "b d"]) -> None:
        """Adds a batch.

        Args:
          features: (b, d), finite.

        Raises:
          InputError: the shape is wrong, or values are not finite. Nothing is added.
        """
        features = np.asarray(features)
        if features.ndim != 2 or features.shape[1] != self.dims:
            raise InputError(f"features: expected (b, {self.dims}), got {features.shape}")
        features = features.astype(np.float64)
        if not np.isfinite(features).all():
            raise InputError("features: some are not finite (NaN or infinite); check the images and the extractor")
        if not len(features):
            return
        # Subtract a value near the mean: otherwise a mean that is large relative to the spread costs precision.
        if self._origin is None:
            self._origin = features[0].copy()
        centred = features - self._origin
        self.count += len(features)
        self._sum += centred.sum(0)
        self._products += centred.T @ centred

    def merge(self, other: "Moments") -> None:
        """Adds the sums of `other` to these sums.

        Raises:
          InputError: the features have another length.
        """
        if other.dims != self.dims:
            raise InputError(f"features of {other.dims} dimensions cannot join features of {self.dims}")
        if other._origin is None:
            return
        if self._origin is None:
            self._origin = other._origin
        shift = other._origin - self._origin
        cross = np.outer(other._sum, shift)
        self._products += other._products + cross + cross.T + other.count * np.outer(shift, shift)
        self._sum += other._sum + other.count * shift
        self.count += other.count

    def statistics(self) -> Statistics:
        """The mean and the unbiased covariance (divided by count - 1).

        Raises:
          InputError: there are fewer than 2 features.
        """
        if self._origin is None or self.count < 2:
            raise InputError(f"{self.count} features have no covariance; at least 2 are needed")
        mean = self._sum / self.count
        sigma = (self._products - self.count * np.outer(mean, mean)) / (self.count - 1)
        return Statistics(self._origin + mean, (sigma + sigma.T) / 2, self.count)


def statistics(batches: Iterable[Float[np.ndarray, "b d"]]) -> Statistics:
    """Mean and covariance of features that come in batches.

    Raises:
      InputError: there are fewer than 2 features, the shapes differ, or values are not finite.
    """
    moments: Moments | None = None
    for batch in batches:
        if moments is None:
            moments = Moments(batch.shape[-1])
        moments.add(batch)
    if moments is None:
        raise InputError("no features: the set is empty")
    return moments.statistics()
