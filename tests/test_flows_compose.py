"""Flows made of flows: shapes along a chain, drawing at once, tracing, latents that leave on the way."""

from typing import Any

import bijectors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from hcflow_jax import flows, parameters
from hcflow_jax.flows.base import bijector

X: Any = np.random.default_rng(0).normal(size=(4, 4, 4, 1)).astype(np.float32)


def squeezed() -> flows.Chain:
    step = flows.chain(actnorm=flows.Actnorm(), mixing=flows.Mixing(), net=_coupling())
    return flows.chain(squeeze=flows.Squeeze(), steps=flows.Repeat(step, 2))


def _coupling() -> flows.Coupling:
    return flows.Coupling(bijectors.Normed(), flows.ChannelSplit())


def shapes(tree: Any) -> Any:
    return jax.tree.map(np.shape, tree)


def test_init_may_be_traced() -> None:
    """`jit(init)` and `vmap(init)` have the tree of init, and its actnorms fit the data."""
    flow, keys = squeezed(), jax.random.split(jax.random.key(0), 3)
    params, z = flow.init(keys[0], X)
    under_jit, z_under_jit = jax.jit(flow.init)(keys[0], X)
    assert shapes(under_jit) == shapes(params) and z_under_jit.shape == z.shape == (4, 2, 2, 4)
    stacked, _ = jax.vmap(flow.init, (0, None))(keys, X)
    assert shapes(stacked) == jax.tree.map(lambda leaf: (3, *leaf.shape), params)
    for made in (params, under_jit, jax.tree.map(lambda leaf: leaf[0], stacked)):
        first = made["steps"]["actnorm"]["bias"][0]
        np.testing.assert_allclose(first, flow.bijectors[0].forward({}, X)[0].mean((0, 1, 2)), atol=1e-6)


def test_init_draws_what_create_says() -> None:
    """Boxed leaves from one draw, others by their own initialisers: none is left at zero, and no two are alike."""
    params, _ = squeezed().init(jax.random.key(0), X)
    again, _ = squeezed().init(jax.random.key(0), X)
    other, _ = squeezed().init(jax.random.key(1), X)
    jax.tree.map(np.testing.assert_array_equal, params, again)
    for leaf, changed in (
        (tree["steps"]["net"]["Dense_0"]["kernel"], diff["steps"]["net"]["Dense_0"]["kernel"])
        for tree, diff in ((params, other),)
    ):
        assert np.abs(leaf).max() > 0.01 and np.abs(leaf - changed).max() > 0.01
        assert np.abs(leaf[0] - leaf[1]).max() > 0.01
    kernel = 0.3 * np.asarray(params["steps"]["mixing"]["kernel"])
    np.testing.assert_allclose(kernel @ kernel.transpose(0, 2, 1), np.eye(4) * np.ones((2, 1, 1)), atol=1e-5)


def test_lu_mixing_starts_orthogonal() -> None:
    x: Any = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
    params, _ = flows.LUMixing().init(jax.random.key(3), x)
    matrix = np.asarray(flows.LUMixing().prepare(params)["matrix"])
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(6), atol=1e-5)
    assert np.abs(matrix - np.diag(np.diag(matrix))).max() > 0.1
    assert sorted(params["order"]) == list(range(6))


def test_lu_mixing_is_the_decomposition() -> None:
    """From P, L, U and s, as another implementation stores them: K = P L (U + diag(sign exp(log_s)))."""
    rng = np.random.default_rng(1)
    lower, upper = np.tril(rng.normal(size=(4, 4)), -1), np.triu(rng.normal(size=(4, 4)), 1)
    log_s, sign, p = rng.normal(size=4), np.array([1.0, -1, -1, 1]), np.eye(4)[[2, 0, 3, 1]]
    params = dict(lower=lower, upper=upper, log_s=log_s, sign=sign, order=p.argmax(0).astype(float))
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
    wanted = p @ (lower + np.eye(4)) @ (upper + np.diag(sign * np.exp(log_s)))
    np.testing.assert_allclose(flows.LUMixing().prepare(params)["matrix"], wanted, atol=1e-5)


def test_repeat_of_a_number_is_repeat_of_a_tuple() -> None:
    step = flows.chain(actnorm=flows.Actnorm(), permute=flows.Permute((1, 0)))
    assert flows.Repeat(step, 3) == flows.Repeat((step,) * 3)
    assert jax.tree.structure(flows.Repeat(step, 3)) == jax.tree.structure(flows.Repeat((step,) * 3))


def test_squeeze_has_glows_order() -> None:
    """Channel c at (2i + a, 2j + b) goes to channel 4c + 2a + b at (i, j)."""
    x: Any = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)
    z, _ = flows.Squeeze().forward({}, x)
    for c, a, b, i, j in [(0, 0, 0, 0, 0), (1, 0, 1, 1, 2), (2, 1, 0, 0, 1), (2, 1, 1, 1, 2)]:
        np.testing.assert_array_equal(z[:, i, j, 4 * c + 2 * a + b], x[:, 2 * i + a, 2 * j + b, c])


@pytest.mark.slow
def test_latents_leave_in_order() -> None:
    """Glow's eps: of each half that leaves by its prior, then of the top; the log-det has -sum(logs) of all."""
    case = bijectors.Case(bijectors.glow(3), (8, 8, 1))
    x, _ = bijectors.inputs(case)
    params: Any = bijectors.perturbed(case)
    flow: Any = case.bijector
    z, log_det = flow.forward(params, x)
    assert [part.shape for part in z] == [(2, 4, 4, 2), (2, 2, 2, 4), (2, 1, 1, 16)]
    total, left = 0, []
    for name, each in zip(flow.names, flow.bijectors, strict=True):
        if name.startswith("out"):
            logs, mean = bijectors.Normed().apply({"params": params[name]}, x[..., : x.shape[-1] // 2])
            left.append((x[..., x.shape[-1] // 2 :] - mean) * np.exp(-logs))
            x, total = x[..., : x.shape[-1] // 2], total - logs.sum((1, 2, 3))
        else:
            x, own = each.forward(params[name], x)
            total += own
    for ours, wanted in zip(z, (*left, x), strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-4)
    np.testing.assert_allclose(log_det, total, rtol=1e-4)


def test_actnorm_by_the_biased_std() -> None:
    x: Any = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    params, _ = flows.Actnorm(biased_std=True).init(jax.random.key(0), x)
    np.testing.assert_allclose(params["scale"], np.log(x.std(0) + 1e-6), atol=1e-6)


def test_invert_makes_parameters_for_the_inside() -> None:
    """z has x's shape squeezed, so the coupling inside is made for 4 channels and the actnorm before it for 1."""
    inner = flows.chain(norm=flows.Actnorm(), squeeze=flows.Squeeze(), net=_coupling())
    params, x = flows.Invert(inner).init(jax.random.key(0), X[:, :2, :2].repeat(4, -1))
    assert x.shape == (4, 4, 4, 1) and params["norm"]["bias"].shape == (1,)
    assert params["net"]["Dense_0"]["kernel"].shape == (4, 6)


@bijector
class Twice(flows.Bijector):
    """A bijector as a user would write it, with nothing said about shapes, dtypes or conditioning."""

    def forward(self, params: Any, x: jax.Array, cond: Any = None) -> Any:
        x = x.astype(jnp.float32)
        return jnp.concatenate([x[..., :1] * 2, x[..., 1:]], -1), jnp.full(x.shape[0], jnp.log(2.0))


def test_a_users_bijector_has_shapes_and_dtypes_seen_to() -> None:
    z, log_det = Twice().forward({}, jnp.ones((2, 3), jnp.float16))
    assert z.dtype == log_det.dtype == jnp.float32
    params, z = flows.chain(twice=Twice(), norm=flows.Actnorm()).init(jax.random.key(0), X)
    assert z.shape == X.shape and params["twice"] == {}
    with pytest.raises(TypeError, match="Twice does not define inverse"):
        Twice().inverse({}, X)


def test_training_gains_no_operation() -> None:
    """The rule of dtypes is settled while tracing: float32 in, no conversion in the program."""
    flow = flows.Repeat(flows.chain(one=flows.Actnorm(), other=flows.chain(actnorm=flows.Actnorm())), 2)
    params = parameters.unbox(flow.create(jax.random.key(0), X))
    program = str(jax.make_jaxpr(flow.forward)(params, X))
    assert "convert_element_type" not in program and "scan" in program


def test_nets_initialise_from_data() -> None:
    """A network's own calibration runs on what reaches the coupling."""
    x: Any = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    coupling = _coupling()
    fresh = coupling.create(jax.random.key(0), jnp.asarray(x))
    done, z = coupling.calibrate(fresh, jnp.asarray(x))
    visible = np.sqrt(2) * x * [1, 1, 0, 0]
    np.testing.assert_allclose(done["bias"], -(visible @ fresh["Dense_0"]["kernel"]).mean(0), atol=1e-5)
    np.testing.assert_allclose(z, coupling.forward(done, x)[0], atol=1e-6)


def test_linen_modules_with_other_variables_are_refused() -> None:
    class Noted(nn.Module):
        @nn.compact
        def __call__(self, x: Any, cond: Any = None) -> Any:
            self.variable("notes", "n", jnp.zeros, ())
            return x, x

    with pytest.raises(ValueError, match="Coupling: its network may only have parameters, but it also has notes"):
        flows.Coupling(Noted(), flows.ChannelSplit()).init(jax.random.key(0), X)
