"""Distances between sets of features: against torch-fidelity's numbers, and from what is known without any."""

import tracemalloc

import numpy as np
import pytest
from golden_data import GOLDEN

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import kernel, neighbourhoods
from hcflow_jax.evaluation.frechet import frechet
from hcflow_jax.evaluation.moments import Moments, Statistics, statistics

VECTORS = np.load(GOLDEN / "features" / "distances.npz")
A, B = VECTORS["a"], VECTORS["b"]  # generated and real


def test_moments_are_torch_fidelitys() -> None:
    found = statistics([A])
    np.testing.assert_allclose(found.mu, VECTORS["mu_a"], rtol=1e-5, atol=1e-6)  # float32 there
    np.testing.assert_allclose(found.sigma, VECTORS["sigma_a"], rtol=1e-10, atol=1e-12)
    assert found.count == len(A)


@pytest.mark.parametrize("cuts", [[1], [1, 2, 3], [350], [699], list(range(1, 700))], ids=lambda cuts: str(len(cuts)))
def test_moments_do_not_depend_on_the_cut(cuts: list[int]) -> None:
    """Into batches, and into parts that several hosts sum; features far from zero lose no digits either."""
    features = A.astype(np.float64) + 1000
    whole = statistics([features])
    parts = [Moments(48) for _ in range(3)]
    for i, batch in enumerate(np.split(features, cuts)):
        parts[i % 3].add(batch)
    merged = Moments(48)
    for part in parts:
        merged.merge(part)
    for found in (statistics(np.split(features, cuts)), merged.statistics()):
        np.testing.assert_allclose(found.mu, whole.mu, rtol=1e-12)
        np.testing.assert_allclose(found.sigma, whole.sigma, rtol=0, atol=1e-9 * np.abs(whole.sigma).max())
        assert found.count == 700


def test_frechet_distances_are_torch_fidelitys() -> None:
    assert frechet(statistics([A]), statistics([B])) == pytest.approx(float(VECTORS["fid"]), rel=2e-6)
    few = statistics([A[:24]])  # of rank 23 in 48 dimensions
    assert frechet(few, statistics([B])) == pytest.approx(float(VECTORS["fid_singular"]), rel=2e-6)
    assert frechet(statistics([B]), few) == pytest.approx(float(VECTORS["fid_singular"]), rel=2e-6)


def test_frechet_distance_of_known_gaussians() -> None:
    """Of commuting covariances it is |difference of means|^2 + sum (std - std)^2."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    stds = np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 0.5, 5.0, 0.0])
    one, other = (Statistics(np.full(5, i), rotation * std**2 @ rotation.T) for i, std in enumerate(stds))
    assert frechet(one, other) == pytest.approx(5 + ((stds[0] - stds[1]) ** 2).sum(), rel=1e-7)
    same = statistics([A])
    assert abs(frechet(same, same)) < 1e-9 * np.trace(same.sigma)


def test_kernel_distance_is_torch_fidelitys() -> None:
    k = int(VECTORS["k"])
    assert kernel.mmd(A[:k], B[:k]) == pytest.approx(float(VECTORS["kid_first_k"]), rel=1e-4)


def test_kernel_distance_over_subsets() -> None:
    found = kernel.kernel_distance(A, B, subsets=9, size=100, seed=3)
    assert found == kernel.kernel_distance(A, B, subsets=9, size=100, seed=3)
    assert found != kernel.kernel_distance(A, B, subsets=9, size=100, seed=4)
    assert abs(found.mean - kernel.mmd(A, B)) < 4 * found.spread
    assert kernel.kernel_distance(A, B, subsets=2).size == 500  # no more than the smaller set has


def test_kernel_distance_of_one_distribution_is_zero_on_average() -> None:
    rng = np.random.default_rng(0)
    found = [kernel.mmd(*rng.normal(size=(2, 30, 4))) for _ in range(200)]
    assert min(found) < 0 and abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(200)


def test_precision_and_recall_are_torch_fidelitys(monkeypatch: pytest.MonkeyPatch) -> None:
    for block in (1 << 27, 1 << 14):  # in one block, and in many
        monkeypatch.setattr(neighbourhoods, "_BLOCK", block)
        found = neighbourhoods.precision_recall(A, B)
        assert found.precision * 700 == pytest.approx(float(VECTORS["precision"]) * 700, abs=1e-3)
        assert found.recall * 500 == pytest.approx(float(VECTORS["recall"]) * 500, abs=1e-3)


def test_precision_and_recall_by_hand() -> None:
    line = np.arange(5.0)[:, None]
    inside, outside = np.array([[0.5], [3.2]]), np.array([[100.0], [300.0]])
    found = neighbourhoods.precision_recall(np.concatenate([inside, outside]), line, neighbours=1)
    assert found.precision == 0.5 and found.recall == 1.0  # the last one's ball, of radius 200, holds no real point
    assert neighbourhoods.precision_recall(line, line + 1000).precision == 0


def test_memory_of_precision_and_recall_does_not_grow_with_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbourhoods, "_BLOCK", 1 << 20)
    x = np.random.default_rng(0).normal(size=(2_000, 2))
    tracemalloc.start()
    neighbourhoods.precision_recall(x, x + 0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * neighbourhoods._BLOCK < 2_000**2 * 8


@pytest.mark.parametrize("distance", [kernel.mmd, kernel.kernel_distance, neighbourhoods.precision_recall])
@pytest.mark.parametrize(
    "a, b, said",
    [
        (A, B[:, :20], "48 and of 20 dimensions"),
        (A[:1], B, r"the first features: expected \(n, d\)"),
        (A, B[0], r"the second features: expected \(n, d\)"),
        (A, np.where(B > 2, np.nan, B), "the second features: some are not finite"),
    ],
    ids=["dimensions", "one", "rank", "nan"],
)
def test_features_that_cannot_be_compared(distance, a: np.ndarray, b: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        distance(a, b)


def test_statistics_that_cannot_be_had() -> None:
    with pytest.raises(InputError, match="no features"):
        statistics([])
    with pytest.raises(InputError, match="1 features have no covariance"):
        statistics([A[:1]])
    with pytest.raises(InputError, match="not finite"):
        statistics([np.where(A > 2, np.inf, A)])
    with pytest.raises(InputError, match=r"expected \(b, 48\)"):
        statistics([A, B[:, :3]])
    whole = statistics([A])
    with pytest.raises(InputError, match="48 and of 2 dimensions"):
        frechet(whole, Statistics(np.zeros(2), np.eye(2)))
    with pytest.raises(InputError, match="second statistics: mu or sigma"):
        frechet(whole, Statistics(np.full(48, np.nan), np.eye(48)))
    with pytest.raises(InputError, match="second statistics: expected mu"):
        frechet(whole, Statistics(np.zeros(48), np.eye(47)))
