"""Learning-rate groups by path, clipping, the EMA, and what a frozen encoder keeps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import celebahq_a
from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.config import ConfigError
from hcflow_jax.training import optimizer
from hcflow_jax.training.packing import Packing

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
    labels = optimizer.labels(tree(*GROUP_OF))
    flat = jax.tree_util.tree_leaves_with_path(labels)
    assert {optimizer.path_name(path): label for path, label in flat} == GROUP_OF
    assert optimizer.count_by_group(tree(*GROUP_OF)) == {"encoder": 2, "decoder": 6, "flows": 16}


def test_configuration_a_has_the_papers_parameters():
    model = models.build(celebahq_a.get_config())
    expected = {"encoder": 10_425_236, "decoder": 37_942_210, "flows": 28_751_266}
    assert optimizer.count_by_group(model.shapes()) == expected


def test_an_uncovered_parameter_is_named():
    with pytest.raises(ConfigError, match="'decoders/8/kernel' belongs to no learning-rate group"):
        optimizer.labels(tree("encoder/kernel", "decoders/8/kernel"))


def test_a_doubly_covered_parameter_is_named():
    patterns = (*optimizer.PATTERNS, ("flows", r"/kernel$"))
    with pytest.raises(ConfigError, match="'encoder/kernel' matches several .*'/kernel\\$' \\(flows\\)"):
        optimizer.labels(tree("encoder/kernel"), patterns)


def update(grads, params, *, frozen=False, **train) -> Any:
    config = schema.default()
    config.train.update(train)
    transformation, packing = optimizer.make_optimizer(config), Packing.of(params)
    packed = packing.pack(params)
    state = transformation.init(packed)
    frozen = jnp.asarray(frozen)
    updates: Any
    updates, new = transformation.update(packing.pack(grads), state, packed, rates=RATES, frozen=frozen)
    return packing.unpack(updates), state, new


def test_packing_joins_a_group_and_comes_apart_again():
    params = tree(*GROUP_OF)
    params["flows"]["8"]["channel_0"]["mixing"]["kernel"] = jnp.arange(6.0).reshape(1, 2, 3)
    packing = Packing.of(params)
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
    flat = {optimizer.path_name(p): np.unique(u) for p, u in jax.tree_util.tree_leaves_with_path(updates)}
    expected = {"encoder/w": -0.1, "decoder/8/conv/w": -0.2, "decoder/y1/w": -0.4, "flows/w": -0.4}
    for path, value in expected.items():  # Adam's first step is the sign of the gradient
        np.testing.assert_allclose(flat[path], value, rtol=1e-5)


@pytest.mark.parametrize(("scale", "factor"), [(1.0, 1.0), (100.0, 0.25)])
def test_clipping_is_by_the_global_norm(scale, factor):
    params = tree("decoder/8/conv/w", "flows/w")  # four ones: a norm of 2
    _, _, state = update(jax.tree.map(lambda p: scale * p, params), params, clip_norm=50.0, adam_b1=0.0)
    (moment,) = jax.tree.leaves(state[1].inner_states["flows"].inner_state[0].mu)
    np.testing.assert_allclose(moment, scale * factor, rtol=1e-6)


def test_a_frozen_encoder_keeps_parameters_and_moments():
    params = tree("encoder/w", "decoder/8/conv/w", "flows/w")
    grads = jax.tree.map(jnp.ones_like, params)
    updates, before, after = update(grads, params, frozen=True)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    np.testing.assert_array_equal(updates["encoder"]["w"], 0)
    assert np.all(np.asarray(updates["flows"]["w"]) != 0)
    encoder = [jax.tree.leaves(s[1].inner_states["encoder"]) for s in (before, after)]
    for old, new in zip(*encoder, strict=True):
        np.testing.assert_array_equal(old, new)
    assert int(optimizer.updates_done(after)) == 1


def test_ema_is_a_copy_then_an_average():
    values = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    decays = [0.0, 0.0, 0.995, 0.995, 0.995, 0.995]
    ema, expected = jnp.zeros(3), np.zeros(3)
    for value, decay in zip(values, decays, strict=True):
        ema = optimizer.ema_update(ema, jnp.asarray(value), jnp.float32(decay))
        expected = value if decay == 0 else decay * expected + (1 - decay) * value
        if decay == 0:
            np.testing.assert_array_equal(ema, value)
    np.testing.assert_allclose(ema, expected, rtol=1e-5)
