"""The hierarchy through `ImageModel`: decoding from a level down, the finest score, statistics of a batch."""

from typing import Any

import api_model
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hcflow_jax import models
from hcflow_jax.errors import InputError
from hcflow_jax.models.hierarchy import IMAGE_SCALE, build
from hcflow_jax.models.hierarchy.objective import log_normal

pytestmark = pytest.mark.slow

LEVELS = ("prior", "y1", "8", "16")


@pytest.fixture(scope="module")
def model():
    return build.build(api_model.config())


@pytest.fixture(scope="module")
def params() -> Any:
    return api_model.params()


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(api_model.images(8) / 256 - 0.5, jnp.float32)


@pytest.fixture(scope="module")
def z(model, params, x):
    return jax.jit(model.encode)(params, x)[0]


def test_the_hierarchy_describes_itself(model, z):
    assert isinstance(model, models.ImageModel)
    assert model.level_names == LEVELS and model.scaled_levels == ("8", "16")
    assert {name: z[name].shape[1:] for name in LEVELS} == model.latent_shapes
    assert model.batch_unit == 4 and model.likelihood == "bound" and model.frozen_group == "encoder"


@pytest.mark.parametrize("level", LEVELS)
def test_decoding_from_a_level_is_decoding(model, params, x, z, level):
    """From any level down, with the finer latents alone, and the coarser levels as they were."""
    place = LEVELS.index(level)
    coarse, fine = ({name: z[name] for name in names} for names in (LEVELS[:place], LEVELS[place:]))

    @jax.jit
    def both(params, coarse, fine):
        state = model.decode_coarse(params, coarse, level)
        return model.decode_from(params, state, fine, level)

    np.testing.assert_allclose(both(params, coarse, fine), x, atol=2e-4)


def test_a_level_that_there_is_not_is_refused(model, params, z):
    with pytest.raises(KeyError, match="no level '32'; there are prior, y1, 8, 16"):
        model.decode_coarse(params, z, "32")
    with pytest.raises(InputError, match="sigma: no level '32'; there are prior, y1, 8, 16"):
        model.draw(jax.random.key(0), 1, {"32": 0.5})


def test_the_finest_score_is_the_slope_of_the_finest_density(model, params, x, z):
    level = model.levels[-1]

    @jax.jit
    def slopes(params, x, direction):
        cond = model.conditions(params, model.features(params, x))[level.name]  # the conditioning does not move

        def density(steps):  # one an image, along the direction
            moved = IMAGE_SCALE * (x + steps[:, None, None, None] * direction)
            latent, log_det = level.flow.forward(params["flows"][level.name], moved, cond)
            return jnp.sum(log_normal(latent, level.prior_std) + log_det)

        return jax.grad(density)(jnp.zeros(x.shape[0]))

    state = jax.jit(lambda p, z: model.decode_coarse(p, z, level.name))(params, z)
    score = jax.jit(model.finest_score)(params, x, state)
    for seed in (3, 4):
        direction = jax.random.normal(jax.random.key(seed), x.shape)
        expected = slopes(params, x, direction)
        found = jnp.sum(score * direction, (1, 2, 3))
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 * float(jnp.abs(expected).max()))


def test_statistics_stand_in_for_a_statistics_group(model, params, x):
    keys = jax.random.split(jax.random.key(5), 4)
    objective = jax.jit(model.objective)
    own = objective(params, x[:4], keys)
    statistics = jax.jit(model.batch_statistics)(params, x[:4])
    assert statistics.keys() == {"prior", "y1", "8"}
    given = objective(params, x[:4], keys, statistics)
    np.testing.assert_allclose(given.bits_per_dim, own.bits_per_dim, rtol=1e-5)
    alone = objective(params, x[:1], keys[:1], statistics)
    np.testing.assert_allclose(alone.bits_per_dim, own.bits_per_dim[:1], rtol=1e-4)
    other = objective(params, x[:4], keys, {name: 2 * value for name, value in statistics.items()})
    assert np.all(np.abs(other.bits_per_dim - own.bits_per_dim) > 1e-3)


def test_statistics_are_means_over_groups(model, params, x):
    statistics = jax.jit(model.batch_statistics)
    parts = [statistics(params, x[:4]), statistics(params, x[4:])]
    whole = statistics(params, x)
    for name, value in whole.items():
        np.testing.assert_allclose(value, (parts[0][name] + parts[1][name]) / 2, rtol=1e-5)
