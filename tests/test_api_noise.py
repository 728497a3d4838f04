"""Encoding with the noise of the stochastic encoder (Eq. 6)."""

import jax
import numpy as np
import pytest
from api_model import config, images, model, params

from hcflow_jax import api
from hcflow_jax.config import presets
from hcflow_jax.errors import InputError
from hcflow_jax.keys import root_key
from hcflow_jax.models.hierarchy import noise

SCALE = {"prior": 0.5, "y1": 2.0, "8": 1.5}


@pytest.fixture(scope="module")
def six() -> np.ndarray:
    return images(6)


@pytest.fixture
def noisy(monkeypatch) -> api.Model:
    monkeypatch.setattr(model(), "statistics", SCALE)
    return model()


def test_features_get_noise_of_the_stored_scale_and_the_image_stays(noisy, six):
    latents = noisy.encode(six[:4], noise_seed=3)
    np.testing.assert_array_equal(noisy.decode(latents), six[:4])
    image_model = noisy.image_model
    made = jax.jit(image_model.generate)(noisy.prepared, latents.as_dict())[0]
    clean = jax.jit(image_model.features)(noisy.prepared, (six[:4] + np.float32(0.5)) / 256 - 0.5)
    keys = jax.vmap(lambda i: jax.random.fold_in(root_key(3), i))(np.arange(4, dtype=np.uint32))
    eps = noise.draw(image_model, keys)["flow"]
    for name, scale in SCALE.items():
        alpha = image_model.level(name).flow_noise
        assert alpha > 0
        np.testing.assert_allclose(made[name] - clean[name], alpha * scale * eps[name], atol=2e-4)
    np.testing.assert_allclose(made["16"], clean["16"], atol=3e-4)


def test_noise_depends_on_the_seed_and_the_number_of_an_image(noisy, six):
    latents = noisy.encode(six, noise_seed=3)
    [alone] = noisy.encode_batches(six[4:], noise_seed=3, first=4)
    halves = api.concatenate(list(noisy.encode_batches([six[:2], six[2:]], noise_seed=3)))
    for name in noisy.level_names:
        np.testing.assert_allclose(alone[name], latents[name][4:], atol=1e-5)
        np.testing.assert_allclose(halves[name], latents[name], atol=1e-5)
    twice = np.stack([six[0], six[0]])
    drawn = [noisy.encode(twice, noise_seed=seed)["8"] for seed in (3, 4)]
    assert np.abs(drawn[0][0] - drawn[0][1]).max() > 0.01 and np.abs(drawn[0] - drawn[1]).max() > 0.01


@pytest.mark.slow
def test_log_dets_are_those_of_the_noisy_features(noisy, six):
    latents, log_dets = noisy.encode(six[:4], log_dets=True, noise_seed=3)
    np.testing.assert_allclose(latents["8"], noisy.encode(six[:4], noise_seed=3)["8"], atol=1e-5)
    backwards = jax.jit(noisy.image_model.generate)(noisy.prepared, latents.as_dict())[1]
    for name, values in log_dets.items():
        np.testing.assert_allclose(values, -backwards[name], rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("seed", [-1, 1.5, True, 2**32, "3"])
def test_a_seed_that_is_none_is_named(noisy, six, seed):
    with pytest.raises(InputError, match="noise_seed is "):
        noisy.encode(six, noise_seed=seed)


def test_without_a_scale_or_without_noise_it_is_refused(monkeypatch, six):
    monkeypatch.setattr(model(), "statistics", {})
    with pytest.raises(InputError, match=r"noise_seed: the scale .* call measure_statistics"):
        model().encode(six, noise_seed=1)
    silent = config()
    for level in silent.model.levels.values():
        level.flow_noise = 0.0
    for part in (silent.model.top.prior, silent.model.top.y1):
        part.flow_noise = 0.0
    with pytest.raises(InputError, match="noise_seed: the encoder of this model has no noise"):
        api.Model(silent, params(), statistics=SCALE).encode(six, noise_seed=1)
    glow = api.Model(presets.config("glow_small"), {})
    with pytest.raises(InputError, match="noise_seed: the encoder of this model has no noise"):
        glow.encode(np.zeros((1, 32, 32, 3), np.uint8), noise_seed=1)
