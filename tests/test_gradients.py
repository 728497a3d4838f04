"""Gradients that are computed together: same values, in every mode, with a barrier in the backward pass alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hcflow_jax.gradients import together


def loss(tie: Any, w: Any, x: Any, cond: Any) -> Any:
    w, x, cond = tie((w, x, cond))
    return jnp.sum(jnp.sin(w * x)) + (0 if cond is None else jnp.sum(cond["a"] * x) * cond["n"])


ARGUMENTS = (jnp.arange(3.0), jnp.ones(3), {"a": jnp.full(3, 2.0), "n": jnp.int32(3)})


@pytest.mark.parametrize("cond", [None, ARGUMENTS[2]], ids=["no conditioning", "conditioning with an integer"])
def test_values_and_derivatives_are_those_without_it(cond):
    w, x, _ = ARGUMENTS

    def results(tie: Any) -> Any:
        def own(w: Any, x: Any) -> Any:
            return loss(tie, w, x, cond)

        scanned = jax.grad(lambda w: jax.lax.scan(lambda x, w: (own(w, x) * x, None), x, w[:, None])[0].sum())
        return [
            own(w, x),
            jax.grad(own, (0, 1))(w, x),
            jax.jvp(own, (w, x), (x, w)),
            jax.jit(jax.grad(jax.checkpoint(own), (0, 1)))(w, x),
            jax.vmap(jax.grad(own))(jnp.stack([w, x]), jnp.stack([x, w])),
            jax.hessian(own)(w, x),
            scanned(w),
        ]

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), results(together), results(lambda t: t))


def test_the_barrier_is_in_the_backward_pass_alone():
    w, x, _ = ARGUMENTS

    def own(w: Any, x: Any) -> Any:
        return loss(together, w, x, None)

    assert "optimization_barrier" not in jax.jit(own).lower(w, x).as_text()
    lines = [
        line for line in jax.jit(jax.grad(own, (0, 1))).lower(w, x).as_text().splitlines() if "optimization_b" in line
    ]
    assert len(lines) == 1 and lines[0].count("tensor<3xf32>") == 2
