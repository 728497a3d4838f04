"""Training against the authors' network: loss, bound, gradients of all parameters, initialisation (`golden/`)."""

from typing import Any

import jax
import numpy as np
import pytest
from golden_data import LOG_DET, assert_close, group, load, nhwc
from golden_model import config, from_flat, model, params, recorded_noise, top

from hcflow_jax.interop import arrays
from hcflow_jax.models.hierarchy import noise
from hcflow_jax.models.hierarchy.objective import Objective, mean_loss

pytestmark = pytest.mark.slow

LOSSES = ("loss_zero", "loss_noise")
PARTS = {"prior": "end0", "y1": "end1", "8": "8", "32": "32", "64": "64"}

over_losses = pytest.mark.parametrize("name", LOSSES)


@pytest.fixture(scope="module")
def x() -> Any:
    return nhwc(load("tiny_a/forward")["x"])


@pytest.fixture(scope="module")
def losses(x: Any) -> Any:
    """(params, noise) -> objective and the mean loss's gradients, compiled once."""
    run = jax.jit(jax.value_and_grad(lambda params, eps: mean_loss(model(), params, x, eps), has_aux=True))

    def call(params: Any, eps: noise.Noise) -> tuple[Objective, Any]:
        (_, result), gradients = run(params, eps)
        return result, gradients

    return call


@pytest.fixture(scope="module")
def trained(losses: Any) -> dict[str, tuple[Objective, Any]]:
    """Objective and gradients under the recorded noise, by file."""
    return {name: losses(params(), recorded_noise(name)) for name in LOSSES}


# Loss, bound and gradients


@over_losses
def test_loss(name: str, trained: Any) -> None:
    result, data = trained[name][0], load(f"tiny_a/{name}")
    assert_close(result.loss, data["loss"][:, 0], "loss", relative=0, absolute=2e-4)
    assert_close(result.loss, data["loss_f64"][:, 0], "loss_f64", relative=0, absolute=2e-4)
    assert_close(np.mean(result.loss), data["loss_mean"], "loss_mean", relative=0, absolute=2e-4)


@over_losses
def test_bits_per_dim(name: str, trained: Any) -> None:
    result, data = trained[name][0], load(f"tiny_a/{name}")
    for key in ("bits_per_dim", "bits_per_dim_f64"):
        assert_close(result.bits_per_dim, data[key][:, 0], key, relative=0, absolute=1e-4)
    by_level = sum(result.bits_by_level.values()) + 8
    assert_close(by_level, data["bits_per_dim"][:, 0], "bits_by_level", relative=0, absolute=1e-4)
    nats = np.log(2) * sum(part.bits for part in result.parts.values())
    assert_close(nats, data["nll_nats"][:, 0], "nll_nats", **LOG_DET)


@over_losses
@pytest.mark.parametrize("level", PARTS)
def test_part(name: str, level: str, trained: Any) -> None:
    part, key = trained[name][0].parts[level], f"part/{PARTS[level]}/"
    data = group(load(f"tiny_a/{name}"), key)
    assert_close(part.log_prior, data["prior"][:, 0], "prior", **LOG_DET)
    assert_close(part.log_det, data["ildj"][:, 0], "ildj", **LOG_DET)
    assert_close(part.entropy, np.broadcast_to(data["ent"], 4), "ent", **LOG_DET)
    scale = np.broadcast_to(data.get("log_scale_corr", 0.0), 4)
    assert_close(part.scale, scale, "log_scale_corr", **LOG_DET)
    weighted = model().level(level).weight * part.bits
    assert_close(weighted, data["weighted"][:, 0], "weighted", relative=0, absolute=2e-4)


@over_losses
@pytest.mark.parametrize("level", ["prior", "y1", "8", "32"])
def test_sigma(name: str, level: str, trained: Any) -> None:
    sigma, data = trained[name][0].parts[level].sigma, load(f"tiny_a/{name}")
    assert_close(sigma, np.broadcast_to(data[f"std/{PARTS[level]}"], 4), "std")
    if level in ("prior", "y1"):
        scaled = model().level(level).flow_noise * sigma
        assert_close(scaled, np.broadcast_to(data[f"part/{PARTS[level]}/std"], 4), "std of the noise")


@pytest.mark.parametrize("level", ["8", "32"])
def test_noisy_latents(level: str, trained: Any) -> None:
    part = trained["loss_noise"][0].parts[level]
    assert_close(part.z, nhwc(load("tiny_a/loss_noise")[f"z/{level}"]), "z")


@over_losses
def test_noisy_top(name: str) -> None:
    """The style network and the base see y_top with the decoders' noise."""
    data, forward = load(f"tiny_a/{name}"), load("tiny_a/forward")
    y_top = nhwc(forward["y/1"])
    y = {"prior": y_top[:, :4], "y1": y_top[:, 4:], **{n: nhwc(forward[f"y/{n}"]) for n in ("8", "32")}}
    _, decoder_in, _ = noise.perturb(model(), y, recorded_noise(name))
    style, split_conv, base = top(decoder_in)
    assert_close(style, data["gs"], "gs")
    assert_close(split_conv, nhwc(data["split_conv"]), "split_conv")
    assert_close(base, nhwc(data["endblock_decode"]), "endblock_decode")


@over_losses
def test_gradients(name: str, trained: Any) -> None:
    data = load(f"tiny_a/{name}")
    ours, theirs = arrays.to_torch(trained[name][1], config()), group(data, "grad/")
    without_effect = set(data["grad_exactly_zero"])
    assert set(theirs) - set(ours) == without_effect and not set(ours) - set(theirs)
    assert all(not theirs[key].any() for key in without_effect) and not data["grad_none"].size
    norm = _norm(theirs)
    assert abs(_norm(ours) - norm) <= 5e-4 * norm
    assert _norm({key: ours[key] - theirs[key] for key in ours}) <= 5e-4 * norm
    rounding = set(data["grad_roundoff_only"])
    wrong = []
    for key, value in ours.items():
        error = np.linalg.norm(value - theirs[key])
        relative = 0.0 if key in rounding else 2e-3 * np.linalg.norm(theirs[key])
        if not error <= relative + 1e-6 * norm:
            wrong.append(f"{key}: {error:.3g} of {np.linalg.norm(theirs[key]):.3g}")
    assert not wrong, f"{len(wrong)} of {len(ours)} gradients are off: {wrong[:5]}"


def _norm(flat: dict[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(value, dtype=np.float64)) for value in flat.values())))


# Data-dependent initialisation


def test_actnorm_initialisation(losses: Any, x: Any) -> None:
    data = load("tiny_a/init")
    fresh = from_flat(group(data, "param/"))
    eps = noise.zeros(model(), 4)
    ready = jax.jit(model().calibrate_with_noise)(fresh, x, eps)
    flat = arrays.to_torch(ready, config())
    before, after = group(data, "param/"), group(data, "after/")
    moved = 0
    for key, value in after.items():
        assert_close(flat[key], value, key, relative=0, absolute=2e-5)
        moved += int(np.abs(value - before[key]).max() > 0.01)
    assert moved > 20
    for key in set(flat) - set(after):
        np.testing.assert_array_equal(flat[key], before[key], key)
    for key in ("loss_first_call", "loss_second_call"):
        assert_close(losses(ready, eps)[0].loss, data[key][:, 0], key, relative=0, absolute=2e-4)
