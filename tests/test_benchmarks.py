"""The benchmarks' arithmetic, against hand-computed answers."""

import json

import jax
import jax.numpy as jnp

from benchmarks import check, flops


def test_a_product_and_a_convolution():
    a, b = jnp.zeros((3, 5)), jnp.zeros((5, 7))
    assert flops.count(jnp.matmul, a, b) == 2 * 3 * 5 * 7

    def conv(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert flops.count(conv, jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 4))) == 2 * 2 * 8 * 8 * 4 * 27


def test_a_loop_counts_every_trip_and_a_branch_once():
    x = jnp.zeros((4, 4))

    def loop(x):
        return jax.lax.scan(lambda c, _: (c @ c, None), x, length=6)[0]

    def branch(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x @ x @ x, x)

    once = 2 * 4**3
    assert flops.count(jax.jit(loop), x) == 6 * once
    assert flops.count(branch, x) == 2 * once


def test_a_gradient_costs_twice_its_forward():
    w, x = jnp.ones((4, 4)), jnp.ones((2, 4))
    assert flops.count(jax.grad(lambda w, x: jnp.sum((x @ w) ** 2), (0, 1)), w, x) == 3 * 2 * 2 * 4 * 4


def test_the_baseline_names_what_got_worse():
    old = {"figures": {"ms": 1.0, "kernels": 100.0, "cycles": 0.0}}
    assert check.worse(old, {"figures": {"ms": 1.019, "kernels": 90.0, "cycles": 0.0}}) == []
    assert check.worse(old, {"figures": {"ms": 1.03, "kernels": 100.0, "cycles": 5.0}}) == [
        "ms: 1 -> 1.03, +3.0 %",
        "cycles: 0 -> 5",
    ]
    assert check.worse(old, {"figures": {"ms": 1.0, "cycles": 0.0}}) == ["kernels: missing"]


def test_the_baseline_holds_every_entry_as_it_would_be_measured_now():
    baseline = json.loads(check.BASELINE.read_text())
    assert {name: entry["flags"] for name, entry in baseline.items()} == {
        name: flags for name, (flags, _) in check.ENTRIES.items()
    }
    for name, (_, figures) in check.ENTRIES.items():
        assert set(baseline[name]["figures"]) == set(figures)
