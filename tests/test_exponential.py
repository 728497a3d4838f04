"""The exponential of skew-symmetric matrices: against SciPy in float64, its gradient, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from hcflow_jax.flows.exponential import expm_skew

jitted = jax.jit(jax.vmap(expm_skew))


def skew(size: int, scale: float, seed: int = 0) -> np.ndarray:
    u = scale * np.random.default_rng(seed).normal(size=(size, size))
    return u - u.T


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_it_is_scipys(size: int) -> None:
    """From no squaring to eleven; the error of a rotation by r radians in float32 is about r times the rounding."""
    given = np.stack([skew(size, scale) for scale in (0.0, 1e-4, 0.03, 0.3, 1.0, 3.0, 50.0)]).astype(np.float32)
    found = np.asarray(jitted(given))
    expected = scipy.linalg.expm(given.astype(np.float64))
    rotation = np.linalg.norm(given.astype(np.float64), 2, axis=(1, 2))
    assert np.all(np.abs(found - expected).max((1, 2)) <= 4e-7 * np.maximum(1, rotation))


def test_its_gradient_is_that_of_the_general_exponential() -> None:
    given, weights = (np.stack([skew(5, s, i) for s in (0.1, 1.0, 4.0)]).astype(np.float32) for i in (0, 1))

    def along(expm):  # the derivative along the skew-symmetric matrices
        return jax.grad(lambda u: jnp.sum(weights * jax.vmap(lambda u: expm(u - u.mT))(u)))(given / 2)

    with jax.default_matmul_precision("highest"):
        expected = along(jax.scipy.linalg.expm)
    np.testing.assert_allclose(along(expm_skew), expected, rtol=1e-4, atol=1e-5)


def test_in_float64_it_is_exact_to_float64() -> None:
    given = np.stack([skew(6, scale) for scale in (0.1, 1.0, 20.0)])
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(jax.vmap(expm_skew))(given))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, scipy.linalg.expm(given), atol=2e-13)


def test_too_large_is_nan_and_the_gradient_of_zero_is_finite() -> None:
    quarter = np.array([[0, 1], [-1, 0]], np.float32)
    assert np.isfinite(jitted(9e4 * quarter[None])).all() and np.isnan(jitted(2e5 * quarter[None])).all()
    gradient = jax.grad(lambda a: expm_skew(a)[0, 1])(0 * quarter)
    np.testing.assert_allclose(gradient, [[0, 1], [0, 0]], atol=1e-6)
