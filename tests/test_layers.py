"""Ways of computing a layer that no preset, or no small case from outside, compares: all are the same function."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hcflow_jax import parameters
from hcflow_jax.nets import layers, resample
from hcflow_jax.training import groups


def images(n: int, channels: int = 3, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), (2, n, n, channels)) + 1.5


def close(a, b) -> None:
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("name", "n"), [("coupling_double", 2), ("coupling_double", 8), ("coupling_halve", 8), ("coupling_halve", 16)]
)
def test_one_pass_is_several_and_taps_are_products(name, n, times):
    rule, x = getattr(resample, name), images(n)
    steps = x
    for _ in range(times):
        steps = rule(steps)
    close(rule(x, times), steps)
    close(rule(x, times, "matrix"), steps)
    weights = images(steps.shape[1], seed=1)
    gradients = [jax.grad(lambda x, how=how: jnp.sum(weights * rule(x, times, how)))(x) for how in ("taps", "matrix")]
    close(*gradients)


@pytest.mark.parametrize(("n", "times"), [(2, 1), (4, 2), (8, 1), (8, 2)])
def test_a_norm_goes_before_doubling(n, times):
    x = images(n)
    after = layers.instance_norm(resample.coupling_double(x, times))
    close(resample.coupling_double(layers.instance_norm_before_doubling(x, times), times), after)


def test_halves_by_one_convolution_or_one_each():
    x = images(4)
    one, each = (layers.Conv(6, execution=layers.Execution(halves=how)) for how in ("one", "each"))
    drawn: Any = parameters.unbox(one.init(jax.random.key(1), x)["params"])
    params = {"params": jax.tree.map(lambda p: jnp.asarray(p) + 0.1, drawn)}
    whole: Any = one.apply(params, x)
    for layer in (one, each):
        parts: Any = layer.apply(params, x, method="halves")
        close(jnp.concatenate(parts, -1), whole)


def test_a_part_goes_on_in_the_next_chunk(monkeypatch):
    monkeypatch.setattr(groups, "CHUNK", 3)
    params = {
        "flows": {"8": {"a": jnp.arange(2.0), "b": jnp.arange(2.0), "c": jnp.arange(5.0), "d": jnp.arange(1.0)}}
    }
    packing = groups.Packing.of(params, (("flows", ""),))
    packed = packing.pack(params)["flows"]
    assert {name: vector.size for name, vector in packed.items()} == {"flows/8/0": 4, "flows/8/1": 5, "flows/8/3": 1}
    jax.tree.map(np.testing.assert_array_equal, packing.unpack({"flows": packed}), params)


@pytest.mark.parametrize(
    ("conv", "kernel", "sizes"), [("paired", 3, 4), ("paired", 1, 0), ("xla", 3, 0), ("padded", 3, 0)]
)
def test_a_paired_convolution_has_one_barrier_for_kernel_bias_and_inputs(conv, kernel, sizes):
    """Without it, a step on several GPUs needs twice the memory; no value shows that."""
    layer, x = layers.Conv(8, kernel, execution=layers.Execution(conv=conv)), jnp.ones((1, 4, 4, 3))
    given = layer.init(jax.random.key(0), x, x), x, x

    def loss(given):
        made: Any = layer.apply(given[0], *given[1:])
        return jnp.sum(made**2)

    text = jax.jit(jax.grad(loss)).lower(given).as_text()
    lines = [line for line in text.splitlines() if "optimization_barrier" in line]
    assert [line.partition(" : ")[2].count("tensor<") for line in lines] == ([sizes] if sizes else [])
