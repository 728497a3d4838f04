"""One step: whose noise is whose, what a bad gradient does, and what the freeze leaves alone."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import training_fakes as fakes

from hcflow_jax import likelihood
from hcflow_jax.training import groups
from hcflow_jax.training import state as states
from hcflow_jax.training import step as steps
from hcflow_jax.training.optimizer import Optimizer
from hcflow_jax.training.schedule import schedule
from hcflow_jax.training.sharding import make_mesh


@pytest.fixture
def setup(monkeypatch, tmp_path):
    fakes.install(monkeypatch.setattr)
    return functools.partial(_setup, tmp_path)


def _setup(folder, *, frozen=False):
    config = fakes.config(folder / "images", images_per_epoch=4, freeze_epoch=1)  # an epoch is a step
    model = fakes.Model()
    optimizer = Optimizer.of(model, config)
    if frozen not in _STEPS:
        plan = schedule(config, 24, frozen_group="encoder")
        mesh = make_mesh(config, 4)
        program = steps.make_train_step(model, optimizer, config, plan, mesh, frozen=frozen)
        numbers = steps.numbers_of(config, plan, mesh)
        _STEPS[frozen] = lambda state, images: program(state, images, numbers)
    params = model.create(jax.random.key(0))
    return _STEPS[frozen], states.create(params, optimizer)


_STEPS = {}  # compiled once for all tests


def tree(packed):
    """The tree of packed parameters."""
    packing = groups.Packing.of(fakes.Model().shapes(), fakes.Model().rate_groups)
    return packing.unpack(packed)


def images(seed=0, batch=4):
    return np.random.default_rng(seed).integers(0, 256, (batch, 8, 8, 3), dtype=np.uint8)


def kept(tree):
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_learns_and_reports(setup):
    step, state = setup()
    before = kept(state)
    new, metrics = step(state, images())
    assert jax.tree.structure(new) == jax.tree.structure(before)
    assert [leaf.dtype for leaf in jax.tree.leaves(new)] == [leaf.dtype for leaf in jax.tree.leaves(before)]
    assert int(new.step) == 1
    assert_same(new.params, new.ema)  # epoch 0: a copy
    for old, fresh in zip(jax.tree.leaves(before.params), jax.tree.leaves(new.params), strict=True):
        assert np.all(old != fresh)
    bits = {"bits_per_dim", "bits/prior", "bits/8"}
    rates = {"rate/encoder", "rate/decoder", "rate/flows"}
    norms = {"grad_norm/encoder", "grad_norm/decoder", "grad_norm/flows"}
    assert metrics.keys() == {"loss", "grad_norm", "skipped"} | bits | rates | norms
    assert all(isinstance(value, jax.Array) and value.shape == () for value in metrics.values())
    assert float(metrics["bits/prior"] + metrics["bits/8"]) == pytest.approx(float(metrics["bits_per_dim"]))
    assert np.linalg.norm([metrics[name] for name in norms]) == pytest.approx(float(metrics["grad_norm"]))


def test_the_state_is_donated(setup):
    step, state = setup()
    step(state, images())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.params, state.ema)))


def test_draws_follow_seed_step_and_position():
    root = steps.root_key(3)
    keys = steps.sample_keys(jax.random.fold_in(root, 5), 4)
    data, noise = likelihood.split_keys(keys)
    expected = jax.random.split(jax.random.fold_in(jax.random.fold_in(root, 5), 2))
    np.testing.assert_array_equal(jax.random.key_data(data[2]), jax.random.key_data(expected[0]))
    np.testing.assert_array_equal(jax.random.key_data(noise[2]), jax.random.key_data(expected[1]))
    longer = steps.sample_keys(jax.random.fold_in(root, 5), 8)
    np.testing.assert_array_equal(jax.random.key_data(keys), jax.random.key_data(longer[:4]))


def test_another_step_draws_other_noise(setup):
    step, state = setup()
    second = kept(state).replace(step=jnp.int32(1))
    _, here = step(state, images())
    _, there = step(second, images())
    assert float(here["loss"]) != float(there["loss"])


def test_a_step_that_is_not_finite_is_skipped_and_counted(setup):
    step, state = setup()
    broken = kept(state)
    next(iter(broken.params["flows"].values()))[:] = np.nan
    before = kept(broken)
    new, metrics = step(broken, images())
    assert int(new.step) == 1 and int(metrics["skipped"]) == 1
    assert_same(new.replace(step=before.step), before)

    good, metrics = step(kept(state).replace(step=new.step), images())
    assert int(good.step) == 2 and int(metrics["skipped"]) == 1


def test_the_frozen_step_leaves_the_encoder_alone(setup):
    step, state = setup()
    state, _ = step(state, images())
    frozen, _ = setup(frozen=True)
    before = kept(state)
    state, metrics = frozen(state, images(1))
    state, metrics = frozen(state, images(2))
    assert jax.tree.structure(state) == jax.tree.structure(before)
    assert_same(state.params["encoder"], before.params["encoder"])
    assert_same(before.opt_state["encoder"], state.opt_state["encoder"])
    assert float(metrics["rate/encoder"]) == 0
    assert np.all(tree(state.params)["style"]["layer"]["bias"] != tree(before.params)["style"]["layer"]["bias"])


def test_the_frozen_norm_is_of_what_learns(setup):
    # every parameter has the same gradient: of five, four learn
    norms = []
    for frozen in (False, True):
        step, state = setup(frozen=frozen)
        norms.append(float(step(state, images())[1]["grad_norm"]))
    assert norms[1] == pytest.approx(norms[0] * (4 / 5) ** 0.5, rel=1e-5)


def test_the_frozen_encoders_ema_goes_on(setup):
    step, state = setup(frozen=True)
    ema = jax.tree.map(jnp.zeros_like, state.ema)
    kernel = np.array(tree(state.params)["encoder"]["stage_0"]["kernel"])
    new, _ = step(state.replace(step=jnp.int32(1), ema=ema), images())
    np.testing.assert_allclose(tree(new.ema)["encoder"]["stage_0"]["kernel"], 0.005 * kernel, rtol=1e-4)


def test_seeds_and_rates_are_no_part_of_the_program(monkeypatch, tmp_path):
    fakes.install(monkeypatch.setattr)

    def lowered(**train):
        config = fakes.config(tmp_path / "images", images_per_epoch=4)
        config.seed = train.pop("seed", 0)
        config.train.update(train)
        model, plan = fakes.Model(), schedule(config, 24, frozen_group="encoder")
        optimizer, mesh = Optimizer.of(model, config), make_mesh(config, 4)
        program = steps.make_train_step(model, optimizer, config, plan, mesh)
        numbers = steps.numbers_of(config, plan, mesh)
        state = states.create(model.create(jax.random.key(0)), optimizer)
        batch: Any = images()
        return program.lower(state, batch, numbers).as_text(), program(state, batch, numbers)[1]

    text, metrics = lowered(warmup_steps=2, ema_decay=0.9)
    rates = {"encoder": 1e-3, "decoder": 1e-3, "flows": 1e-3}
    other, others = lowered(warmup_steps=3, ema_decay=0.8, learning_rate=rates, num_steps=77, seed=5)
    assert text == other  # so the compiled program is found in the cache
    assert float(metrics["loss"]) != float(others["loss"])  # by the seed
    assert lowered(final_decay=0.5)[0] != text  # what is computed otherwise is another program
