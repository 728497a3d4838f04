"""Batches on devices: a model of another family on one and on four, features, what is dispatched when."""

import doctest
import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import two_part_model as other

from hcflow_jax import api, batches, likelihood, models
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import features as extracting  # the module: its function has the same name
from hcflow_jax.evaluation.round_trip import round_trip

TESTS = Path(__file__).resolve().parent


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(models, "build", lambda config: other.TwoParts())
    return api.Model(other.config(), other.params())


def everything(model: api.Model, count: int) -> dict[str, np.ndarray]:
    """What a model gives for some images."""
    images = other.images(count)
    z, log_dets = model.encode(images, log_dets=True)
    coarse = model.decode_coarse(z, "rest")
    found = {
        "z": z["rest"],
        "log_det": log_dets["rest"],
        "decoded": model.decode(z),
        "from": model.decode_from(coarse, z),
        "from the first": model.decode_from(model.decode_coarse(z, "red"), z, as_float=True),
        "varied": model.vary(z[0], "rest", count),
        "samples": np.concatenate(list(model.sample_batches(count, seed=4))),
        "between": model.interpolate(z[0], z[1], count),
        "bits": model.bits_per_dim(images)["total"],
        "statistics": np.array(list(model.measure_statistics(images).values())),
        "stored": model.bits_per_dim(images[:3], "stored")["total"],
    }
    means = extracting.features(_means, {"by": np.float32(3)}, model.sample_batches(count, seed=4), 4, model.mesh)
    return found | {"features": np.concatenate(list(means))}


def _means(params, images):
    return params["by"] * images.astype("float32").mean((1, 2))


def test_a_model_of_another_family_is_used_through_the_same_interface(model):
    found, images = everything(model, 7), other.images(7)
    np.testing.assert_array_equal(found["decoded"], images)
    np.testing.assert_array_equal(found["from"], images)
    np.testing.assert_allclose(found["from the first"], (images.astype(np.float32) + 0.5) / 256, atol=1e-5)
    np.testing.assert_allclose(found["features"], 3 * found["samples"].astype(np.float32).mean((1, 2)), rtol=1e-5)
    assert model.level_names == ("red", "rest")
    half, whole = model.draw(2, sigma=0.5), model.draw(2, sigma=1.0)
    np.testing.assert_allclose(half["rest"], whole["rest"] / 2, rtol=1e-6)
    np.testing.assert_array_equal(half["red"], whole["red"])
    assert round_trip(model, images).same_values == 1
    with pytest.raises(InputError, match="space is z, not 'y_top'"):
        model.interpolate(model.draw(1), model.draw(1), 3, space="y_top")


def test_statistics_are_means_over_whole_units(model):
    images = other.images(7)
    units = [model.measure_statistics(images[i : i + 2])["red"] for i in (0, 2, 4)]
    # An image's noise is drawn by its number, which differs: it is small.
    assert model.measure_statistics(images)["red"] == pytest.approx(np.mean(units), rel=1e-3)
    assert model.statistics["red"] != pytest.approx(units[0], rel=1e-3)


def test_a_model_whose_images_stand_alone_needs_no_statistics(model, monkeypatch):
    monkeypatch.setattr(other.TwoParts, "batch_unit", 1)
    assert model.measure_statistics() == {} and model.statistics == {}
    assert model.bits_per_dim(other.images(1)).statistics == "own groups"


def test_training_and_evaluation_share_the_likelihood(model):
    config, images = other.config(), jnp.asarray(other.images(4))
    keys = likelihood.evaluation_keys(config.eval.seed, jnp.arange(4))

    @functools.partial(jax.jit, static_argnames=("count", "flip"))
    def objective(count, flip=False, statistics=None):
        given = images[:count], keys[:count], config.data
        return likelihood.objective(model.image_model, other.params(), *given, flip=flip, statistics=statistics)

    straight = objective(4)
    named = likelihood.by_name(straight)
    assert list(named) == ["loss", "bits_per_dim", "bits/red", "bits/rest"]
    np.testing.assert_allclose(model.bits_per_dim(np.asarray(images))["total"], named["bits_per_dim"], rtol=1e-6)
    assert not np.array_equal(objective(4, flip=True).loss, straight.loss)
    assert objective(1, statistics={"red": jnp.float32(0.1)}).loss.shape == (1,)


FOUR = """
import sys
import numpy as np, jax
import test_devices, two_part_model as other
from hcflow_jax import api, models
assert jax.device_count() == 4
models.build = lambda config: other.TwoParts()
model = api.Model(other.config(), other.params())
assert model.mesh.size == 4 and model.batch_size == 256
assert len(jax.tree.leaves(model.prepared)[0].sharding.device_set) == 4
np.savez(sys.argv[1], **test_devices.everything(model, 7))
"""


@pytest.mark.slow
def test_four_devices_give_what_one_does(model, tmp_path):
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    command = [sys.executable, "-c", FOUR, str(tmp_path / "four.npz")]
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "four.npz") as four:
        for name, expected in everything(model, 7).items():
            np.testing.assert_allclose(four[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_next_batch_is_dispatched_before_the_last_is_fetched(monkeypatch):
    order = []
    monkeypatch.setattr(batches.devices, "fetch", lambda tree: order.append(f"fetch {tree[0]}") or tree)

    def call(tree):
        order.append(f"call {tree[0]}")
        return tree

    given = (order.append(f"read {i}") or np.full(4, i) for i in range(3))
    parts = batches.stream(call, given, 4)
    next(parts)
    assert order == ["read 0", "call 0", "read 1", "call 1", "fetch 0"]
    assert [int(part[0]) for part in parts] == [1, 2]
    assert order[5:] == ["read 2", "call 2", "fetch 1", "fetch 2"]


@pytest.mark.parametrize(("largest", "multiple"), [(64, 1), (63, 3), (48, 8)])
def test_any_number_of_examples_takes_few_programs(largest, multiple):
    sizes, told = set(), []

    def call(array):
        sizes.add(len(array))
        return {"twice": 2 * array}

    for count in (1, 2, 3, 5, 16, 17, 70):
        parts = batches.stream(call, [np.arange(count)], largest, multiple)
        got = batches.joined(parts, count, lambda *done: told.append(done))
        np.testing.assert_array_equal(got["twice"], 2 * np.arange(count))
    assert len(sizes) <= 4 and max(sizes) == largest and all(size % multiple == 0 for size in sizes)
    assert told[-2:] == [(largest, 70), (70, 70)]
    assert [batches.bucket(n, 16) for n in (1, 2, 4, 5, 16)] == [1, 4, 4, 16, 16]


def test_examples_of_evaluation_run():
    failed, tried = doctest.testmod(extracting)
    assert tried == 2 and failed == 0
