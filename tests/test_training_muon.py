"""Muon: orthogonal updates for the weights of layers, Adam's for the rest, and a state that is stored and read."""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from hcflow_jax import config as schema
from hcflow_jax.training import groups
from hcflow_jax.training.optimizer import Optimizer

# By path: the shape, and for weights their axes of inputs and of outputs, and the longer side of a matrix.
SHAPES: dict[str, Any] = {
    "decoder/8/dense/w": ((6, 4), (0, 1), 6),
    "decoder/8/dense/b": ((4,), None, 0),
    "flows/8/channel_0/coupling/hidden_0/w": ((2, 3, 3, 4, 5), ((1, 2, 3), 4), 36),  # two steps have two matrices
    "flows/8/channel_0/coupling/hidden_0/b": ((2, 5), None, 0),
    "flows/8/channel_0/mixing/kernel": ((2, 4, 4), None, 0),
    "flows/8/channel_0/coupling/shift/w": ((3, 3, 4, 40), ((0, 1, 2), 3), 40),
    "flows/prior/coupling/hidden_0/w": ((3, 4, 7), (1, 2), 7),
}
MATRICES = {name: MuonDimensionNumbers(*axes) for name, (_, axes, _) in SHAPES.items() if axes}
RATES = {"decoder": jnp.float32(0.1), "flows": jnp.float32(0.2)}


def draw(seed: int) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.standard_normal(shape), jnp.float32) for name, (shape, _, _) in SHAPES.items()}


def tree(flat: dict[str, jax.Array]) -> Any:
    return unflatten_dict(flat, sep="/")


def flat(made: Any) -> Any:
    return flatten_dict(made, sep="/")


def make(update: str = "vectors", loop: str = "scan") -> Optimizer:
    config = schema.default()
    config.train.update(optimizer="muon", adam_b2=0.99, adam_eps=1e-6, clip_norm=1e6)
    config.execution.update, config.execution.loop = update, loop
    rows = (("decoder", "^decoder/"), ("flows", "^flows/"))
    model: Any = types.SimpleNamespace(shapes=lambda: tree(draw(0)), rate_groups=rows)
    return Optimizer.of(model, config)


def changes(optimizer: Optimizer, seeds: tuple[int, ...]) -> tuple[list[dict[str, jax.Array]], Any]:
    """What each of several steps changes, divided by the rates, and the state at the end."""
    packing, params = optimizer.packing, tree(draw(0))
    state, made, step = optimizer.init(packing.pack(params)), [], jax.jit(optimizer.update)
    for seed in seeds:
        zeros = jax.tree.map(jnp.zeros_like, params)
        new, state = step(packing.pack(tree(draw(seed))), state, packing.pack(zeros), RATES)
        rated = flat(packing.unpack(new))
        made.append({name: -value / RATES[name.split("/")[0]] for name, value in rated.items()})
    return made, state


@pytest.mark.parametrize("loop", ["scan", "unroll"])
@pytest.mark.parametrize("update", groups.UPDATES)
def test_three_updates_are_those_of_optax(update, loop):
    """Muon's for each matrix by itself, sized by its longer side, and Adam's for the other tensors."""
    found, state = changes(make(update, loop), (1, 2, 3))
    adam, plain = optax.scale_by_adam(0.9, 0.99, 1e-6), scale_by_muon(weight_dimension_numbers=MATRICES)
    params = draw(0)
    others, theirs = adam.init(params), plain.init({name: params[name] for name in MATRICES})
    step: Any = jax.jit(
        lambda grads, others, theirs: (
            adam.update(grads, others),
            plain.update({name: grads[name] for name in MATRICES}, theirs),
        )
    )
    for seed, own in zip((1, 2, 3), found, strict=True):
        (expected, others), (orthogonal, theirs) = step(draw(seed), others, theirs)
        for name, (_, axes, longer) in SHAPES.items():
            wanted = 0.2 * longer**0.5 * orthogonal[name] if axes else expected[name]
            np.testing.assert_allclose(own[name], wanted, rtol=1e-4, atol=1e-5, err_msg=name)
    assert {int(of_group.count) for of_group in state.values()} == {3}


def test_matrices_of_similar_shapes_are_in_one_stack_and_padding_stays_zero():
    optimizer = make()
    packed = optimizer.packing.pack(tree(draw(0)))
    stacks = {chunk: value.shape for chunk, value in packed["flows"].items() if value.ndim == 3}
    assert stacks == {
        "matrices/16x64/0": (2, 16, 64),
        "matrices/64x64/0": (1, 64, 64),
        "matrices/16x16/0": (3, 16, 16),
    }
    assert optimizer.packing.columns["decoder"] == {"matrices/16x16/0": [6]}
    new, _ = optimizer.update(packed, optimizer.init(packed), packed, RATES)
    restored = optimizer.packing.pack(optimizer.packing.unpack(new))
    jax.tree.map(np.testing.assert_array_equal, restored, new)


@pytest.mark.parametrize("update", groups.UPDATES)
def test_a_state_is_stored_by_parameter_and_read_again(update):
    optimizer = make(update)
    _, state = changes(optimizer, (1, 2))
    stored = optimizer.to_stored(state)
    assert stored.keys() == {"count", "mu", "nu"}
    assert {name: leaf.shape for name, leaf in flat(stored["mu"]).items()} == {
        n: s for n, (s, _, _) in SHAPES.items()
    }
    assert {name for name, leaf in flat(stored["nu"]).items() if not leaf.shape} == set(MATRICES)
    again = optimizer.from_stored(stored)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    assert int(optimizer.updates_done(state, "decoder")) == 2
    other = make(next(name for name in groups.UPDATES if name != update))
    jax.tree.map(np.testing.assert_array_equal, other.to_stored(other.from_stored(stored)), stored)
