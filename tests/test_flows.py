"""What single bijectors and layers promise beyond what the table of `test_bijectors` asks of all."""

from typing import Any

import bijectors
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bijectors import CASES
from flax import linen as nn
from golden_data import assert_close

from hcflow_jax import flows, parameters
from hcflow_jax.nets import layers


def test_channel_split_hides_the_larger_last_part() -> None:
    for channels, hidden in ((2, 1), (3, 2), (4, 2), (5, 3)):
        mask = flows.ChannelSplit().hidden((1, 2, 2, channels))
        np.testing.assert_array_equal(mask, [0] * (channels - hidden) + [1] * hidden)


def test_checkerboards_want_images() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(batch, h, w, channels\)"):
        flows.CheckerSplit(2, 0).hidden((2, 3))


def test_actnorm_init_standardises() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(4, 3, 3, 5)) * np.arange(1, 6) + np.arange(5)).astype(np.float32)
    _, z = flows.Actnorm().init(jax.random.key(0), jnp.asarray(x))
    np.testing.assert_allclose(np.mean(z, (0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(np.std(np.asarray(z), (0, 1, 2), ddof=1), 1, rtol=1e-5)


def test_actnorm_init_survives_a_constant_channel() -> None:
    params, z = flows.Actnorm().init(jax.random.key(0), jnp.ones((4, 3)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((params, z)))


def test_actnorm_init_runs_through_steps_in_forward_order() -> None:
    """Each step's actnorm sees what the steps before it make of the data."""
    case = CASES["repeat"]
    x, cond = bijectors.inputs(case)
    x, params = jnp.asarray(3 * x + 1), bijectors.perturbed(case)
    done, z = case.bijector.calibrate(params, x, cond)
    for i, step in enumerate(bijectors.CHECKERS):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], done)
        over = tuple(range(x.ndim - 1))
        np.testing.assert_allclose(own["actnorm"]["bias"], jnp.mean(x, over), atol=1e-4)
        np.testing.assert_allclose(np.exp(own["actnorm"]["scale"]), jnp.std(x, over, ddof=1), rtol=1e-4)
        x, _ = step.forward(own, x, cond)
    np.testing.assert_allclose(z, x, atol=1e-4)
    for part in ("coupling", "mixing"):
        jax.tree.map(np.testing.assert_array_equal, done[part], params[part])


@pytest.mark.parametrize(
    "steps",
    [
        (flows.Actnorm(), flows.Mixing()),
        (flows.Mixing(0.3), flows.Mixing(0.1)),
        (flows.Coupling(nn.Dense(2), flows.ChannelSplit()), flows.Coupling(nn.Dense(2), flows.CheckerSplit(2, 0))),
    ],
    ids=["kind", "hyperparameter", "split"],
)
def test_repeat_refuses_unlike_steps(steps: tuple[flows.Bijector, ...]) -> None:
    with pytest.raises(ValueError, match="may differ only in constants"):
        flows.Repeat(steps).create(jax.random.key(0), jnp.zeros((1, 2, 2, 4)))


def test_orthogonal_matrix_is_orthogonal() -> None:
    rng = np.random.default_rng(0)
    x = jnp.zeros((1, 64))
    mixing = flows.OrthogonalMixing()
    generator = parameters.unbox(mixing.create(jax.random.key(0), x))["generator"]
    ready = mixing.prepare({"generator": generator + 30 * rng.normal(size=(64, 64)).astype(np.float32)})
    k = np.asarray(ready["matrix"], np.float64)
    assert np.abs(k - np.eye(64)).max() > 0.5
    assert np.abs(k @ k.T - np.eye(64)).max() < 1e-6  # 3e-6 without the Newton-Schulz step
    np.testing.assert_array_equal(ready["inverse"], ready["matrix"].T)


def test_orthogonal_matrix_turns_the_right_way() -> None:
    """K = expm(M (U - U^T)), not its transpose: two channels, where the exponential is a rotation."""
    u = np.array([[0.3, 2.0], [-1.0, 0.7]], np.float32)
    angle = 0.1 * (u[0, 1] - u[1, 0])
    wanted = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    np.testing.assert_allclose(flows.OrthogonalMixing().prepare({"generator": u})["matrix"], wanted, atol=1e-6)


def test_mixing_inverse_of_an_ill_conditioned_kernel() -> None:
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(8, 8)))[0] for _ in range(2))
    matrix = (left * np.geomspace(1, 1e-3, 8)) @ right
    ready = flows.Mixing(0.3).prepare({"kernel": (matrix / 0.3).astype(np.float32)})
    k = np.asarray(ready["matrix"], np.float64)
    # eps * condition number is 6e-5; without the refinement this is 7e-6.
    assert_close(ready["inverse"], np.linalg.inv(k), relative=5e-6)
    np.testing.assert_allclose(ready["log_abs_det"], np.linalg.slogdet(k).logabsdet, rtol=1e-6)


def test_instance_norm_refuses_1x1() -> None:
    with pytest.raises(ValueError, match=r"\(2, 1, 1, 6\)"):
        layers.instance_norm(jnp.zeros((2, 1, 1, 6)))


def test_conv_gradients_do_not_depend_on_the_implementation() -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 6, 5, 3), (3, 3, 3, 4)))

    def gradients(implementation: str) -> Any:
        conv = layers.Conv(4, execution=layers.Execution(conv=implementation))

        def loss(w: Any, x: Any) -> Any:
            made: Any = conv.apply({"params": {"w": w, "b": jnp.ones(4)}}, x)
            return jnp.sum(jnp.sin(made))

        return jax.jit(jax.grad(loss, (0, 1)))(w, x)

    for implementation in ("paired", "shifted", "padded"):
        for ours, reference in zip(gradients(implementation), gradients("xla"), strict=True):
            assert_close(ours, reference, relative=1e-5)
