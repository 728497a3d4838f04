"""Learning-rate groups by path, clipping, the EMA, and what a frozen encoder keeps."""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import celebahq_a
from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.config import ConfigError
from hcflow_jax.models.hierarchy.rate_groups import RATE_GROUPS
from hcflow_jax.parameters import path_name
from hcflow_jax.training import groups
from hcflow_jax.training.optimizer import Optimizer, ema_update

RATES = {"encoder": jnp.float32(0.1), "decoder": jnp.float32(0.2), "flows": jnp.float32(0.4)}


def tree(*paths):
    result: dict[str, Any] = {}
    for path in paths:
        *parents, last = path.split("/")
        holder = result
        for name in parents:
            holder = holder.setdefault(name, {})
        holder[last] = jnp.ones((2,))
    return result


GROUP_OF = {
    "encoder/stage_0/kernel": "encoder",
    "decoder/8/stage_0/conv_in/kernel": "decoder",
    "decoder/8/stage_0/style_in/kernel": "flows",
    "decoder/8/stage_0/style_out/bias": "flows",
    "decoder/8/to_condition/kernel": "flows",
    "decoder/8/to_skip/bias": "flows",
    "decoder/32/start_unet/down_0_a/kernel": "decoder",
    "decoder/base/constant": "decoder",
    "decoder/base/conv/bias": "flows",
    "decoder/y1/kernel": "flows",
    "style/layer_0/kernel": "flows",
    "flows/8/channel_0/mixing/kernel": "flows",
}


def test_groups_follow_the_paths():
    labels = groups.labels(tree(*GROUP_OF), RATE_GROUPS)
    flat = jax.tree_util.tree_leaves_with_path(labels)
    assert {path_name(path): label for path, label in flat} == GROUP_OF
    assert groups.count_by_group(tree(*GROUP_OF), RATE_GROUPS) == {"encoder": 2, "decoder": 6, "flows": 16}


@pytest.mark.slow
def test_configuration_a_has_the_papers_parameters():
    model = models.build(celebahq_a.get_config())
    expected = {"encoder": 10_425_236, "decoder": 37_942_210, "flows": 28_751_266}
    assert groups.count_by_group(model.shapes(), model.rate_groups) == expected


def test_an_uncovered_parameter_is_named():
    with pytest.raises(ConfigError, match="'decoders/8/kernel' belongs to no rate group"):
        groups.labels(tree("encoder/kernel", "decoders/8/kernel"), RATE_GROUPS)


def test_a_doubly_covered_parameter_is_named():
    patterns = (*RATE_GROUPS, ("flows", r"/kernel$"))
    with pytest.raises(ConfigError, match="'encoder/kernel' matches several .*'/kernel\\$' \\(flows\\)"):
        groups.labels(tree("encoder/kernel"), patterns)


def make(params, **train) -> Optimizer:
    config = schema.default()
    config.train.update(train)
    model: Any = types.SimpleNamespace(shapes=lambda: params, rate_groups=RATE_GROUPS)
    return Optimizer.of(model, config)


def update(grads, params, **train) -> Any:
    optimizer = make(params, **train)
    packing = optimizer.packing
    packed = packing.pack(params)
    state = optimizer.init(packed)
    new_params, new = optimizer.update(packing.pack(grads), state, packed, RATES)
    updates = jax.tree.map(jnp.subtract, packing.unpack(new_params), params)
    return updates, state, new


@pytest.mark.parametrize("optimizer", ["adam", "adamax"])
def test_tensors_and_vectors_are_updated_alike(optimizer):
    """Only the sum of the clipping's norm may round differently. What is stored has the same structure."""
    params = tree(*GROUP_OF)
    params["flows"]["8"]["channel_0"]["mixing"]["kernel"] = jnp.ones((1, 2, 3))
    grads = jax.tree.map(lambda p: jnp.linspace(-80.0, 70.0, p.size).reshape(p.shape), params)
    ends = {}
    for update in groups.UPDATES:
        config = schema.default()
        config.train.optimizer, config.execution.update = optimizer, update
        model: Any = types.SimpleNamespace(shapes=lambda: params, rate_groups=RATE_GROUPS)
        chosen = Optimizer.of(model, config)
        own = chosen.packing.pack(params)
        state = chosen.init(own)
        for _ in range(3):
            own, state = chosen.update(chosen.packing.pack(grads), state, own, RATES)
        stored = chosen.to_stored(state)
        again = chosen.from_stored(stored)
        assert jax.tree.structure(again) == jax.tree.structure(state)
        jax.tree.map(np.testing.assert_array_equal, again, state)
        ends[update] = chosen.packing.unpack(own), stored
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *ends.values())
    kernels = Optimizer.of(model, config).packing.pack(params)["flows"]
    assert kernels["flows/8/channel_0/mixing/kernel"].shape == (1, 2, 3)


def test_packing_joins_a_group_and_comes_apart_again():
    params = tree(*GROUP_OF)
    params["flows"]["8"]["channel_0"]["mixing"]["kernel"] = jnp.arange(6.0).reshape(1, 2, 3)
    packing = groups.Packing.of(params, RATE_GROUPS)
    packed = packing.pack(params)
    sizes = {group: {part: vector.size for part, vector in parts.items()} for group, parts in packed.items()}
    assert {group: sum(parts.values()) for group, parts in sizes.items()} == {"encoder": 2, "decoder": 6, "flows": 20}
    assert all(part.count("/") == 2 for parts in sizes.values() for part in parts)
    assert sizes["flows"]["flows/8/0"] >= 6
    again = packing.unpack(packed)
    assert jax.tree.structure(again) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_every_group_learns_at_its_rate():
    params = tree("encoder/w", "decoder/8/conv/w", "decoder/y1/w", "flows/w")
    updates, _, _ = update(jax.tree.map(lambda p: 3 * p, params), params, adam_eps=0.0)
    flat = {path_name(p): np.unique(u) for p, u in jax.tree_util.tree_leaves_with_path(updates)}
    expected = {"encoder/w": -0.1, "decoder/8/conv/w": -0.2, "decoder/y1/w": -0.4, "flows/w": -0.4}
    for path, value in expected.items():  # Adam's first step is the sign of the gradient
        np.testing.assert_allclose(flat[path], value, rtol=1e-5)


@pytest.mark.parametrize(("scale", "factor"), [(1.0, 1.0), (100.0, 0.25)])
def test_clipping_is_by_the_global_norm(scale, factor):
    params = tree("decoder/8/conv/w", "flows/w")  # four ones: a norm of 2
    _, _, state = update(jax.tree.map(lambda p: scale * p, params), params, clip_norm=50.0, adam_b1=0.0)
    (moment,) = jax.tree.leaves(state["flows"].mu)
    np.testing.assert_allclose(moment, scale * factor, rtol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamax"])
def test_the_stored_state_has_the_parameters_shape_whatever_the_chunks(name, monkeypatch):
    params = tree(*GROUP_OF)
    params["flows"]["8"]["channel_0"]["mixing"]["kernel"] = jnp.arange(6.0).reshape(1, 2, 3)
    optimizer = make(params, optimizer=name)
    _, _, state = update(params, params, optimizer=name)
    stored = optimizer.to_stored(state)
    assert stored.keys() == {"count", "mu", "nu"}
    assert stored["count"].keys() == {"encoder", "decoder", "flows"}
    for moments in (stored["mu"], stored["nu"]):
        assert jax.tree.map(jnp.shape, moments) == jax.tree.map(jnp.shape, params)
    kernel = stored["mu"]["flows"]["8"]["channel_0"]["mixing"]["kernel"]
    np.testing.assert_allclose(kernel, 0.1 * jnp.arange(6.0).reshape(1, 2, 3), rtol=1e-6)
    monkeypatch.setattr(groups, "CHUNK", 3)
    other = make(params, optimizer=name)
    cut = other.from_stored(stored)
    assert jax.tree.structure(cut) != jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, other.to_stored(cut), stored)
    again = optimizer.from_stored(stored)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, again, state)


def test_adamax_divides_by_the_largest_gradient():
    params = tree("encoder/w", "decoder/8/conv/w", "flows/w")
    updates, _, state = update(jax.tree.map(lambda p: 2 * p, params), params, optimizer="adamax", adam_eps=0.0)
    np.testing.assert_allclose(updates["flows"]["w"], -0.4, rtol=1e-5)
    np.testing.assert_allclose(jax.tree.leaves(state["flows"].nu)[0], 2.0, rtol=1e-6)  # not its square


def test_ema_is_a_copy_then_an_average():
    values = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    decays = [0.0, 0.0, 0.995, 0.995, 0.995, 0.995]
    ema, expected = jnp.zeros(3), np.zeros(3)
    for value, decay in zip(values, decays, strict=True):
        ema = ema_update(ema, jnp.asarray(value), jnp.float32(decay))
        expected = value if decay == 0 else decay * expected + (1 - decay) * value
        if decay == 0:
            np.testing.assert_array_equal(ema, value)
    np.testing.assert_allclose(ema, expected, rtol=1e-5)
