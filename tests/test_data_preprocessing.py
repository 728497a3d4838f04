"""uint8 to x and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hcflow_jax.config import ConfigError
from hcflow_jax.data.preprocessing import augment, dequantise, to_uint8, to_x

ALL = np.arange(256, dtype=np.uint8)
augment_jit = jax.jit(augment, static_argnames=("bits", "noise_std", "flip"))


def _keys(count: int, seed: int = 0):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(count))


def _images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)


@pytest.mark.parametrize("bits", [1, 5, 8])
@pytest.mark.parametrize("u", [0.0, 0.5, np.nextafter(np.float32(1), np.float32(0))])
def test_every_value_stays_in_its_bin(bits, u):
    x = np.asarray(jax.jit(dequantise, static_argnums=2)(jnp.full(256, u, jnp.float32), ALL, bits), np.float64)
    assert x.min() >= -0.5 and x.max() < 0.5
    np.testing.assert_array_equal(np.floor((x + 0.5) * 2**bits), ALL >> (8 - bits))
    np.testing.assert_allclose(x, (ALL >> (8 - bits)) / 2**bits + u / 2**bits - 0.5, atol=1e-7)


@pytest.mark.parametrize("bits", [5, 8])
def test_uniform_over_the_bin(bits):
    images = np.full((8, 16, 16, 3), 129, np.uint8)
    x = np.asarray(augment_jit(_keys(8), images, bits=bits, noise_std=0.0, flip=False), np.float64)
    u = (x + 0.5) * 2**bits - (129 >> (8 - bits))
    assert 0 <= u.min() < 0.01 and 0.99 < u.max() < 1
    assert abs(u.mean() - 0.5) < 0.015 and abs(u.std() - 12**-0.5) < 0.01


def test_noise_has_its_std_and_is_independent_of_the_flip():
    images = _images(8)
    args = dict(bits=8, flip=False)
    noise = augment_jit(_keys(8), images, noise_std=0.005, **args) - augment_jit(
        _keys(8), images, noise_std=0.0, **args
    )
    assert abs(float(noise.std()) - 0.005) < 1e-4 and abs(float(noise.mean())) < 2e-4
    flipped = augment_jit(_keys(8), images[:, :, ::-1], bits=8, noise_std=0.005, flip=True)
    plain = augment_jit(_keys(8), images, bits=8, noise_std=0.005, flip=False)
    mirrored = [bool(np.array_equal(a, b)) for a, b in zip(flipped, plain, strict=True)]
    assert 0 < sum(mirrored) < 8  # where it was mirrored back, nothing else differs


def test_half_are_mirrored_along_the_width():
    images = np.zeros((256, 16, 16, 3), np.uint8)
    images[:, :, 0] = 255
    x = np.asarray(augment_jit(_keys(256), images, bits=8, noise_std=0.0, flip=True))
    left, right = (x[:, :, 0] > 0.4).all((1, 2)), (x[:, :, -1] > 0.4).all((1, 2))
    assert (left ^ right).all() and 100 < right.sum() < 156
    unflipped = np.asarray(augment_jit(_keys(256), images, bits=8, noise_std=0.0, flip=False))
    assert (unflipped[:, :, 0] > 0.4).all()


def test_a_sample_depends_on_its_own_key_only():
    images, keys = _images(4), _keys(4)
    whole = augment_jit(keys, images, bits=8, noise_std=0.005, flip=True)
    part = augment_jit(keys[2:3], images[2:3], bits=8, noise_std=0.005, flip=True)
    assert whole.dtype == jnp.float32 and whole.shape == images.shape
    np.testing.assert_allclose(whole[2:3], part, atol=1e-7)


@pytest.mark.parametrize("bits", [0, 9])
def test_bits_are_named(bits):
    with pytest.raises(ConfigError, match=rf"data\.bits is {bits}"):
        augment(_keys(1), jnp.asarray(_images(1)), bits=bits, noise_std=0.0, flip=False)


def test_use_is_exact_for_all_values():
    x = to_x(jnp.asarray(ALL))
    np.testing.assert_array_equal(np.asarray(x, np.float64), (ALL + 0.5) / 256 - 0.5)
    np.testing.assert_array_equal(to_uint8(x), ALL)


@pytest.mark.parametrize("error", [0.999 / 512, -0.999 / 512])
def test_errors_below_half_a_level_change_no_pixel(error):
    np.testing.assert_array_equal(to_uint8(to_x(jnp.asarray(ALL)) + error), ALL)


def test_out_of_range_is_clipped():
    np.testing.assert_array_equal(to_uint8(jnp.array([-3.0, -0.6, 0.5, 0.51, 9.0])), [0, 0, 255, 255, 255])
