"""The draws of the noise of the y's, their scale, and what passes gradients, in a tiny model of two levels."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_noise import draw, small_config

from hcflow_jax.models.hierarchy import Hierarchy, build, noise
from hcflow_jax.models.hierarchy.objective import noise_entropy


@pytest.fixture(scope="module")
def of_two_levels() -> Hierarchy:
    return build.build(small_config(16))


@pytest.fixture(scope="module")
def draws(of_two_levels: Hierarchy) -> noise.Noise:
    return draw(of_two_levels, jax.random.split(jax.random.key(2), 8))


def test_draws_belong_to_their_sample(of_two_levels: Hierarchy, draws: noise.Noise) -> None:
    """A batch may be cut anywhere: over devices, hosts or micro-batches."""
    cut = draw(of_two_levels, jax.random.split(jax.random.key(2), 8)[3:6])
    jax.tree.map(lambda part, whole: np.testing.assert_array_equal(part, whole[3:6]), cut, draws)


def test_draws_are_independent_and_standard(of_two_levels: Hierarchy, draws: noise.Noise) -> None:
    assert set(draws) == {"flow", "decoder"}
    for by_level in draws.values():
        assert set(by_level) == {"prior", "y1", "8"}
        for n, leaf in by_level.items():
            assert leaf.shape == (8, *of_two_levels.level(n).shape)
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(draws)])
    assert len(np.unique(values)) > 0.999 * values.size
    assert abs(values.mean()) < 0.1 and abs(values.std() - 1) < 0.1


def test_zeros_have_the_tree_of_draws(of_two_levels: Hierarchy, draws: noise.Noise) -> None:
    zeros = noise.zeros(of_two_levels, 8)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, 0 * b), zeros, draws)


@pytest.mark.parametrize("stop", [True, False])
def test_the_flows_inputs_pass_gradients_only_without_the_stop(
    of_two_levels: Hierarchy, draws: noise.Noise, stop: bool
) -> None:
    model = dataclasses.replace(of_two_levels, stop_gradient=stop)
    y = {n: jnp.asarray(np.random.default_rng(1).normal(size=e.shape), jnp.float32) for n, e in draws["flow"].items()}
    y["16"] = jnp.ones((8, *model.image_shape))

    def of_use(place: int) -> Any:
        return jax.grad(lambda y: sum(jnp.sum(value) for value in noise.perturb(model, y, draws)[place].values()))(y)

    assert all(bool(leaf.any()) is not stop for leaf in jax.tree.leaves(of_use(0)))
    assert all(leaf.any() for leaf in jax.tree.leaves(of_use(1)))


def test_noise_is_in_units_of_sigma(of_two_levels: Hierarchy, draws: noise.Noise) -> None:
    model, rng = of_two_levels, np.random.default_rng(0)
    y = {n: jnp.asarray(rng.normal(size=(8, *model.level(n).shape)).astype(np.float32)) for n in ("prior", "y1", "8")}
    y["16"] = jnp.ones((8, *model.image_shape))
    flow_in, decoder_in, sigmas = noise.perturb(model, y, draws)
    assert set(sigmas) == {"prior", "y1", "8"}
    for n in sigmas:
        level, shape = model.level(n), (8, *[1] * len(model.level(n).shape))
        sigma = np.repeat(np.asarray(y[n]).reshape(2, 4, -1).std(1, ddof=1).mean(-1), 4)
        np.testing.assert_allclose(sigmas[n], sigma, rtol=1e-5)
        for made, use, alpha in (
            (flow_in, "flow", level.flow_noise),
            (decoder_in, "decoder", level.decoder_noise),
        ):
            wanted = y[n] + alpha * sigma.reshape(shape) * draws[use][n]
            np.testing.assert_allclose(made[n], wanted, rtol=1e-5, atol=1e-6)
    for made in (flow_in, decoder_in):
        np.testing.assert_array_equal(made["16"], y["16"])


@pytest.mark.parametrize("group", [1, 3])
def test_sigma_refuses_a_group_that_does_not_fit(group: int) -> None:
    with pytest.raises(ValueError, match=rf"model\.statistics_group={group}"):
        noise.sigma(jnp.ones((8, 2)), group)


def test_sigmas_gradient_where_nothing_varies_is_zero() -> None:
    y = jnp.stack([jnp.ones(4), jnp.arange(4.0)], -1)
    gradient = jax.grad(lambda y: noise.sigma(y, 4)[0])(y)
    np.testing.assert_array_equal(gradient[:, 0], 0)
    assert np.abs(gradient[:, 1]).max() > 0


def test_entropy_moves_nothing(of_two_levels: Hierarchy) -> None:
    level = of_two_levels.level("8")
    sigma = jnp.full(4, 0.5)
    wanted = level.dims * (0.5 * np.log(2 * np.pi * (0.1 * 0.5) ** 2) + 0.5)
    np.testing.assert_allclose(noise_entropy(level, sigma), wanted, rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(lambda s: jnp.sum(noise_entropy(level, s)))(sigma), 0)


def test_entropy_that_learns_has_a_gradient_and_none_where_nothing_varies(of_two_levels: Hierarchy) -> None:
    level, sigma = of_two_levels.level("8"), jnp.array([0.5, 0.25, 0.0])
    np.testing.assert_array_equal(noise_entropy(level, sigma, learns=True), noise_entropy(level, sigma))
    gradient = jax.grad(lambda s: jnp.sum(noise_entropy(level, s, learns=True)))(sigma)
    np.testing.assert_allclose(gradient, [level.dims / 0.5, level.dims / 0.25, 0], rtol=1e-6)
