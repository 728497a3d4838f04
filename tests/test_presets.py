"""Every preset of `execution` computes the same function: the authors' numbers in float32, near them in bfloat16."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_data import LOG_DET, assert_close, load, nhwc
from golden_model import config, params, recorded_noise

from hcflow_jax import models
from hcflow_jax.interop import arrays
from hcflow_jax.models.hierarchy.objective import objective

pytestmark = pytest.mark.slow  # a compilation of the whole model a preset and a precision

OTHERS = ("gpu", "tpu")  # the CPU's is what every other test runs


def built(preset: str, dtype: str) -> Any:
    own = config().copy_and_resolve_references()
    own.execution.preset, own.execution.dtype = preset, dtype
    return models.build(own)


def loss_and_gradient(model: Any) -> tuple[Any, Any]:
    """Objective and the mean loss's gradient under the recorded noise."""
    eps = recorded_noise("loss_noise")

    def mean_loss(params: Any, x: Any) -> tuple[jax.Array, Any]:
        result = objective(model, params, x, eps)
        return jnp.mean(result.loss), result

    run = jax.jit(jax.value_and_grad(mean_loss, has_aux=True))
    (_, result), gradient = run(params(), nhwc(load("tiny_a/forward")["x"]))
    return result, gradient


def flat(gradient: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]).astype(np.float64)


def authors_gradient() -> np.ndarray:
    data = load("tiny_a/loss_noise")
    named = {key.removeprefix("grad/"): value for key, value in data.items() if key.startswith("grad/")}
    return flat(arrays.from_torch(named, config()))


@pytest.fixture(scope="module", params=OTHERS)
def preset(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def exact(preset: str) -> tuple[Any, Any]:
    return loss_and_gradient(built(preset, "float32"))


def test_latents(preset: str) -> None:
    model, data = built(preset, "float32"), load("tiny_a/forward")

    @jax.jit
    def both(params: Any, x: Any) -> Any:
        ready = model.prepare(params)
        z, log_dets = model.encode(ready, x)
        return z, log_dets, model.decode(ready, z)

    x = nhwc(data["x"])
    z, log_dets, again = both(params(), x)
    for level in ("64", "32", "8"):
        assert_close(z[level], nhwc(data[f"z/{level}"]), f"z/{level}")
        assert_close(log_dets[level], data[f"ildj_flow/{level}"][:, 0], f"log_det/{level}", **LOG_DET)
    assert_close(again, x, "round trip", relative=0, absolute=5e-5)


def test_loss(exact: tuple[Any, Any]) -> None:
    data = load("tiny_a/loss_noise")
    assert_close(exact[0].loss, data["loss"][:, 0], "loss", relative=0, absolute=2e-4)
    assert_close(exact[0].bits_per_dim, data["bits_per_dim"][:, 0], "bits", relative=0, absolute=1e-4)


def test_gradient(exact: tuple[Any, Any]) -> None:
    ours, theirs = flat(exact[1]), authors_gradient()
    assert np.linalg.norm(ours - theirs) <= 5e-4 * np.linalg.norm(theirs)


def test_bfloat16_is_near(preset: str, exact: tuple[Any, Any]) -> None:
    result, gradient = loss_and_gradient(built(preset, "bfloat16"))
    bits = float(jnp.mean(result.bits_per_dim) - jnp.mean(exact[0].bits_per_dim))
    assert 0 < abs(bits) <= 0.01
    ours, wanted = flat(gradient), flat(exact[1])
    cosine = ours @ wanted / np.linalg.norm(ours) / np.linalg.norm(wanted)
    assert 0.99 <= cosine < 1 - 1e-9
