"""Gradients that are computed together or at once: the same values, and barriers where they should be."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hcflow_jax.gradients import at_once, together


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


def own_loss(arguments: Any) -> Any:
    w, x, cond = arguments
    products = jnp.sin(w * x) * cond["n"] + cond["a"].astype(jnp.float32)
    return jnp.mean(products), {"products": products}


def plainly(function: Any, arguments: Any, after: Any) -> Any:
    value, aux = function(arguments)
    return value, jax.lax.stop_gradient(aux), after


W, X, COND = jnp.arange(3.0), jnp.ones(3), {"a": jnp.full(3, 2.0, jnp.bfloat16), "n": jnp.int32(3)}


@pytest.mark.parametrize("stopped", [False, True], ids=["x has a gradient", "x has none"])
@pytest.mark.parametrize("factor", [1.0, -2.0, None], ids=["loss", "-2 times the loss", "without the loss"])
def test_values_and_gradients_are_those_of_the_function(factor, stopped):
    def results(run: Any) -> Any:
        def outer(w: Any, x: Any, a: Any) -> Any:
            given = (w, jax.lax.stop_gradient(x) if stopped else x, {"a": a, "n": COND["n"]})
            value, aux, after = run(own_loss, given, {"next": jnp.square(x), "count": jnp.int32(2)})
            rest = jnp.sum(after["next"] * w) * after["count"] + jnp.sum(aux["products"] * x)
            return rest + (0.0 if factor is None else factor * value)

        both = jax.jit(jax.value_and_grad(outer, (0, 1, 2)))(W, X, COND["a"])
        return outer(W, X, COND["a"]), both

    own, expected = results(at_once), results(plainly)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), own, expected)
    assert jax.tree.map(jnp.result_type, own) == jax.tree.map(jnp.result_type, expected)


def test_what_comes_after_waits_for_the_gradient():
    """There is one barrier, if there is a gradient: of what comes after and the gradients of w and x."""

    def outer(w: Any, x: Any) -> Any:
        value, _, after = at_once(own_loss, (w, x, COND), jnp.ones((7, 2)))
        return value + jnp.sum(after)

    assert "optimization_barrier" not in jax.jit(outer).lower(W, X).as_text()
    lines = jax.jit(jax.grad(outer)).lower(W, X).as_text().splitlines()
    (barrier,) = [line for line in lines if "optimization_barrier" in line]
    assert barrier.count("tensor<7x2xf32>") == 1 and barrier.count("tensor<3xf32>") == 1
