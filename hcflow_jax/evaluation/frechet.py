"""The Frechet distance between two Gaussians. It is called FID if the features are those of FID's Inception."""

import numpy as np
from jaxtyping import Float

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation.moments import Statistics


def frechet(a: Statistics, b: Statistics) -> float:
    """The Frechet distance |mu_a - mu_b|^2 + tr(sigma_a) + tr(sigma_b) - 2 tr((sigma_a sigma_b)^(1/2)), in float64.

    sigma_a sigma_b has the same eigenvalues as the symmetric matrix S sigma_b S with S = sigma_a^(1/2). So two
    eigendecompositions of symmetric matrices are enough, the result is real, and singular covariances need no
    constant on their diagonals. For nearly equal Gaussians, rounding can make the result slightly negative; it is
    returned unchanged.

    Args:
      a: mean and covariance of d dimensions.
      b: the same for the other Gaussian.

    Raises:
      InputError: the dimensions differ, or values are not finite.

    >>> unit = Statistics(np.zeros(2), np.eye(2))
    >>> frechet(unit, Statistics(np.array([3.0, 0.0]), 4 * np.eye(2)))
    11.0
    """
    _check("the first statistics", a)
    _check("the second statistics", b)
    if a.mu.shape != b.mu.shape:
        raise InputError(f"features of {a.mu.size} and of {b.mu.size} dimensions cannot be compared")
    difference = np.asarray(a.mu, np.float64) - np.asarray(b.mu, np.float64)
    sigma_a, sigma_b = np.asarray(a.sigma, np.float64), np.asarray(b.sigma, np.float64)
    root = _root(sigma_a)
    product = root @ sigma_b @ root
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    trace_of_root = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    return float(difference @ difference + np.trace(sigma_a) + np.trace(sigma_b) - 2 * trace_of_root)


def _root(sigma: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """The symmetric square root of a covariance. Eigenvalues that rounding made negative are set to 0."""
    values, vectors = np.linalg.eigh((sigma + sigma.T) / 2)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _check(name: str, statistics: Statistics) -> None:
    d = np.size(statistics.mu)
    if np.shape(statistics.mu) != (d,) or np.shape(statistics.sigma) != (d, d):
        given = f"{np.shape(statistics.mu)} and {np.shape(statistics.sigma)}"
        raise InputError(f"{name}: expected mu (d,) and sigma (d, d), got {given}")
    if not (np.isfinite(statistics.mu).all() and np.isfinite(statistics.sigma).all()):
        raise InputError(f"{name}: mu or sigma has values that are not finite")
