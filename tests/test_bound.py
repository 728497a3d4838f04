"""The bound from first principles: densities in closed form, data of known entropy, one definition for all models."""

import dataclasses
import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_family

from hcflow_jax import config as schema
from hcflow_jax import likelihood, models
from hcflow_jax.config import registry
from hcflow_jax.evaluation import bits_per_dim
from hcflow_jax.models import ImageModel, Objective

SIZE = 8
STD = 0.15  # of x: 38 levels of 8 bits, 5 of 5 bits


@dataclasses.dataclass(frozen=True)
class Gaussian(ImageModel):
    """Every value of x is N(0, STD^2) by itself; uniform on [-1/2, 1/2] where `std` is None."""

    bits: int = 8
    std: float | None = STD
    likelihood: Any = "exact"

    image_shape = (SIZE, SIZE, 3)
    level_names = scaled_levels = (str(SIZE),)
    latent_shapes = {str(SIZE): image_shape}

    def create(self, key: Any) -> Any:
        return {}

    def shapes(self) -> Any:
        return {}

    def _unasked(self, *args: Any, **kwargs: Any) -> Any:
        """The bound needs the objective alone: a call of anything else fails the test."""
        raise AssertionError("the bound asked for more than the objective")

    encode = decode_coarse = decode_from = draw = finest_score = cast(Any, _unasked)

    def objective(self, params: Any, x: Any, keys: Any, statistics: Any = None) -> Objective:
        if self.std is None:
            nats = jnp.where(jnp.abs(x) <= 0.5, 0.0, jnp.inf)
        else:
            nats = 0.5 * jnp.square(x / self.std) + 0.5 * math.log(2 * math.pi * self.std**2)
        share = jnp.mean(nats, (1, 2, 3)) / math.log(2)
        return Objective(share, share + self.bits, {self.level_names[0]: share})


def settings(bits: int = 8, draws: int = 1) -> Any:
    config = schema.default()
    config.data.bits, config.data.noise_std, config.data.resolution = bits, 0.0, SIZE
    config.eval.draws = draws
    return config


def gaussian_images(count: int) -> np.ndarray:
    x = STD * np.random.default_rng(0).standard_normal((count, SIZE, SIZE, 3))
    return np.clip(np.floor(256 * (x + 0.5)), 0, 255).astype(np.uint8)


def batches(images: np.ndarray, size: int = 8) -> Any:
    for start in range(0, len(images), size):
        places = np.arange(start, start + size)
        yield {"images": images[places % len(images)], "indices": places, "valid": places < len(images)}


def expected(images: np.ndarray, bits: int) -> np.ndarray:
    """E[-log2 N(x; 0, STD^2)] + bits of each image, over noise that is uniform in its bins."""
    width = 2.0**-bits
    middle = (images // 2 ** (8 - bits) + 0.5) * width - 0.5
    squares = (middle**2 + width**2 / 12) / STD**2
    return (0.5 * squares.mean((1, 2, 3)) + 0.5 * math.log(2 * math.pi * STD**2)) / math.log(2) + bits


@pytest.mark.parametrize("bits", [8, 5])
def test_a_uniform_density_costs_the_bits_themselves(bits: int) -> None:
    found = bits_per_dim.bound(Gaussian(bits, None), {}, batches(gaussian_images(11)), settings(bits))
    assert found.bits_per_dim == bits and found.standard_error == 0 and found.images == 11


@pytest.mark.parametrize("bits", [8, 5])
def test_the_bound_of_a_gaussian_is_its_closed_form(bits: int) -> None:
    images = gaussian_images(37)
    found = bits_per_dim.bound(Gaussian(bits), {}, batches(images), settings(bits, draws=16))
    assert found.bits_per_dim is not None and found.draw_standard_error is not None
    exact = expected(images, bits).mean()
    assert abs(found.bits_per_dim - exact) < 4 * found.draw_standard_error
    assert found.draw_standard_error < 1e-3 and found.draws == 16
    assert found.by_level == {"8": pytest.approx(found.bits_per_dim - bits)}


def test_data_of_known_entropy_costs_its_entropy() -> None:
    found = bits_per_dim.bound(Gaussian(), {}, batches(gaussian_images(200)), settings())
    entropy = 0.5 * math.log2(2 * math.pi * math.e * STD**2) + 8  # the differential entropy, in bins of 1/256
    assert found.bits_per_dim is not None and found.standard_error is not None
    assert abs(found.bits_per_dim - entropy) < 4 * found.standard_error + 1e-3  # and what lies beyond [-1/2, 1/2]
    assert found.standard_error < 5e-3


@pytest.mark.slow
def test_a_flow_has_the_same_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy family's likelihood, written out for one image at a time, with the keys that the bound says it uses."""
    monkeypatch.setitem(registry._modules, toy_family.NAME, "toy_family")
    config = schema.default(family=toy_family.NAME)
    config.data.resolution = SIZE
    model, images = models.build(config), gaussian_images(5)
    params = jax.tree.map(lambda a: np.asarray(a) + np.float32(0.03), model.create(jax.random.key(0)))
    found = bits_per_dim.bound(model, params, batches(images, 4), config)
    each = []
    for i, image in enumerate(images):
        key = jax.random.split(jax.random.fold_in(jax.random.key(config.eval.seed, impl="threefry2x32"), i))[0]
        x = likelihood.dequantised(jnp.asarray(image[None]), key[None], config.data, flip=False)
        (z,), (log_det,) = (list(part.values()) for part in model.encode(params, x))
        nats = 0.5 * np.sum(np.square(z)) + 0.5 * z.size * math.log(2 * math.pi) - float(log_det[0])
        each.append(nats / z.size / math.log(2) + 8)
    assert found.bits_per_dim == pytest.approx(np.mean(each), rel=1e-5)
    assert found.standard_error == pytest.approx(np.std(each, ddof=1) / math.sqrt(5), rel=1e-3)


def test_errors_count_images_and_draws() -> None:
    images = gaussian_images(64)
    values = bits_per_dim.image_values(
        {}, batches(images), bits_per_dim.make_batch_bound(Gaussian(5), settings(5)), 8
    )
    bits = values["bits_per_dim"]
    found = bits_per_dim.summary(Gaussian(5), values)
    assert bits.shape == (64, 8) and len(np.unique(bits)) > 500
    assert found.standard_error == pytest.approx(bits.mean(1).std(ddof=1) / 8)
    # The error over draws is that of the noise alone: over the same images again and again with other noise.
    means = [bits[:, d].mean() for d in range(8)]
    assert found.draw_standard_error == pytest.approx(np.std(means, ddof=1) / math.sqrt(8), rel=0.6)
    one = bits_per_dim.summary(Gaussian(5), {name: v[:, :1] for name, v in values.items()})
    assert one.draw_standard_error is None and one.draws == 1


def test_the_first_draw_is_that_of_one_draw() -> None:
    images = gaussian_images(6)
    program = bits_per_dim.make_batch_bound(Gaussian(), settings())
    three = bits_per_dim.image_values({}, batches(images), program, 3)["bits_per_dim"]
    one = bits_per_dim.image_values({}, batches(images), program)["bits_per_dim"]
    np.testing.assert_array_equal(three[:, :1], one)
    keys = likelihood.evaluation_keys(1, jnp.arange(3))
    traced = jax.jit(lambda draw: likelihood.evaluation_keys(1, jnp.arange(3), draw))(np.uint32(0))
    assert (jax.random.key_data(keys) == jax.random.key_data(traced)).all()


def test_a_code_without_density_has_no_bound() -> None:
    found = bits_per_dim.bound(Gaussian(8, None, "undefined"), {}, batches(gaussian_images(4)), settings(draws=2))
    assert (found.bits_per_dim, found.standard_error, found.draw_standard_error) == (None, None, None)
    assert found.loss == 0 and "undefined" in str(found) and "a level has no noise" in found.table()[0]
    assert found.not_finite_images == 0


def test_a_bound_that_is_not_finite_is_said() -> None:
    values = {
        name: np.array([[1.0, 2.0], [1.0, np.nan], [np.inf, 2.0]]) for name in ("loss", "bits_per_dim", "bits/8")
    }
    found = bits_per_dim.summary(Gaussian(), values)
    assert found.bits_per_dim is None and found.not_finite_images == 2
    assert str(found).startswith("held-out bits/dim (not finite: 2 of 3 images)  loss not finite")
    lines = found.table()
    assert "not finite: 2 of 3 images" in lines[0] and lines[1].endswith("not finite")
