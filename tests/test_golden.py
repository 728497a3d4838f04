"""The whole model against the authors' network: a case of three levels with every kind of part (`golden/`).

Tolerances are about ten times the distance between the authors' own float32 and float64.
"""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_data import LOG_DET, assert_close, group, load, nhwc, settings
from ml_collections import ConfigDict

from hcflow_jax.interop import arrays
from hcflow_jax.interop import settings as release
from hcflow_jax.models import factory, noise
from hcflow_jax.models.hierarchy import Hierarchy
from hcflow_jax.models.objective import Objective, objective
from hcflow_jax.nets.decoder import mask_channels

LEVELS = ("64", "32", "8")
LOSSES = ("loss_zero", "loss_noise")
PARTS = {"prior": "end0", "y1": "end1", "8": "8", "32": "32", "64": "64"}

over_levels = pytest.mark.parametrize("level", LEVELS)
over_losses = pytest.mark.parametrize("name", LOSSES)


@pytest.fixture(scope="module")
def config() -> ConfigDict:
    return release.to_config(settings())


@pytest.fixture(scope="module")
def model(config: ConfigDict) -> Hierarchy:
    return factory.build(config)


@pytest.fixture(scope="module")
def params(config: ConfigDict) -> Any:
    return arrays.from_torch(group(load("tiny_a/params"), "param/"), config)


@pytest.fixture(scope="module")
def forward() -> dict[str, np.ndarray]:
    return load("tiny_a/forward")


@pytest.fixture(scope="module")
def x(forward: dict[str, np.ndarray]) -> np.ndarray:
    return nhwc(forward["x"])


@pytest.fixture(scope="module")
def encoded(model: Hierarchy, params: Any, x: np.ndarray) -> SimpleNamespace:
    """y's, latents, log-dets and conditions of the images."""

    @jax.jit
    def run(params: Any, x: Any) -> dict[str, Any]:
        ready = model.prepare(params)
        y = model.features(ready, x)
        z, log_dets = model.encode(ready, x)
        return dict(y=y, z=z, log_dets=log_dets, cond=model.conditions(ready, y), ready=ready["flows"])

    return SimpleNamespace(**run(params, x))


@pytest.fixture(scope="module")
def generate(model: Hierarchy, params: Any) -> Any:
    """Latents -> y's and log-dets, compiled once."""
    run = jax.jit(lambda params, z: model.generate(model.prepare(params), z))
    return lambda z: run(params, z)


@pytest.fixture(scope="module")
def top(model: Hierarchy, params: Any) -> Any:
    """y by level -> (style vector, masked 1x1 conv of y_top, 4x4 base)."""

    @jax.jit
    def run(params: Any, prior: Any, y1: Any) -> tuple[Any, Any, Any]:
        y_top = jnp.concatenate([prior, y1], -1)
        own = {"params": params["style"]}
        style = model.style.apply(own, mask_channels(y_top, model.style_masked))
        own = params["decoder"]["base"]
        base = model.base.apply({"params": own}, y_top)
        return style, (base - own["constant"])[:, 0, 0], base

    return lambda y: run(params, y["prior"], y["y1"])


@pytest.fixture(scope="module")
def losses(model: Hierarchy, params: Any, x: np.ndarray) -> Any:
    """(params, noise) -> objective and the mean loss's gradients, compiled once."""

    def mean_loss(params: Any, eps: noise.Noise) -> tuple[jax.Array, Objective]:
        result = objective(model, params, x, eps)
        return jnp.mean(result.loss), result

    run = jax.jit(jax.value_and_grad(mean_loss, has_aux=True))

    def call(params: Any, eps: noise.Noise) -> tuple[Objective, Any]:
        (_, result), gradients = run(params, eps)
        return result, gradients

    return call


@pytest.fixture(scope="module")
def trained(model: Hierarchy, params: Any, losses: Any) -> dict[str, tuple[Objective, Any]]:
    """Objective and gradients under the recorded noise, by file."""
    return {name: losses(params, _noise(model, name)) for name in LOSSES}


def _noise(model: Hierarchy, name: str) -> noise.Noise:
    if name == "loss_zero":
        return noise.zeros(model, 4)
    data = {key: nhwc(value) for key, value in group(load(f"tiny_a/{name}"), "noise/").items()}
    flow = {"prior": "end_loss/0", "y1": "end_loss/1", "8": "flow/8", "32": "flow/32"}
    decoder = {"prior": "end_apply/0", "y1": "end_apply/1", "8": "cond/32", "32": "cond/64"}
    assert set(data) == {*flow.values(), *decoder.values()}
    return {
        "flow": {n: jnp.asarray(data[key]) for n, key in flow.items()},
        "decoder": {n: jnp.asarray(data[key]) for n, key in decoder.items()},
    }


def _top_vector(y: dict[str, Any]) -> np.ndarray:
    return np.concatenate([y["prior"], y["y1"]], -1)


def _latents(data: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    z = {level: nhwc(data[f"{prefix}/{level}"]) for level in LEVELS}
    vector = nhwc(data[f"{prefix}/1"])
    return {"prior": vector[:, :4], "y1": vector[:, 4:], **z}


# Encoding


def test_features(encoded: SimpleNamespace, forward: dict[str, np.ndarray]) -> None:
    for level in LEVELS[1:]:
        assert_close(encoded.y[level], nhwc(forward[f"y/{level}"]), f"y/{level}")
    assert_close(_top_vector(encoded.y), nhwc(forward["y/1"]), "y/1")
    assert_close(encoded.y["64"], 4 * nhwc(forward["x"]), "y/64")


def test_style_and_base(encoded: SimpleNamespace, top: Any, forward: dict[str, np.ndarray]) -> None:
    style, split_conv, base = top(encoded.y)
    assert_close(style, forward["gs"], "gs")
    assert_close(split_conv, nhwc(forward["split_conv"]), "split_conv")
    assert_close(base, nhwc(forward["endblock_decode"]), "endblock_decode")


@over_levels
def test_decoder(level: str, encoded: SimpleNamespace, forward: dict[str, np.ndarray]) -> None:
    cond = encoded.cond[level]
    for end in ("start", "end"):
        for value, which in zip(cond[end], "bs", strict=True):
            key = f"level/{level}/{end}_{which}"
            assert_close(value, nhwc(forward[key]), key)
    assert_close(cond["steps"], nhwc(forward[f"level/{level}/cond_flow"]), "cond_flow")


def test_decoder_skips(
    model: Hierarchy, params: Any, encoded: SimpleNamespace, top: Any, forward: dict[str, np.ndarray]
) -> None:
    """What one level's decoder hands to the next finer one, and its features before the heads."""
    style, _, base = top(encoded.y)
    decoder = model.level("8").decoder
    assert decoder is not None

    @jax.jit
    def run(own: Any) -> Any:
        return decoder.apply({"params": own}, base, None, style, capture_intermediates=True)

    (_, skip), inside = run(params["decoder"]["8"])
    assert_close(skip, nhwc(forward["level/8/skip"]), "skip")
    (raw,) = inside["intermediates"]["stage_0"]["__call__"]
    assert_close(raw, nhwc(forward["level/8/cond_flow_raw"]), "cond_flow_raw")


@over_levels
def test_latents(level: str, encoded: SimpleNamespace, forward: dict[str, np.ndarray]) -> None:
    assert_close(encoded.z[level], nhwc(forward[f"z/{level}"]), "z")
    reference = forward[f"ildj_flow/{level}"][:, 0]
    assert_close(encoded.log_dets[level], reference, "log_det", **LOG_DET)


def test_top_latents(encoded: SimpleNamespace, forward: dict[str, np.ndarray]) -> None:
    assert_close(_top_vector(encoded.z), nhwc(forward["z/1"]), "z")
    log_det = encoded.log_dets["prior"] + encoded.log_dets["y1"]
    assert_close(log_det, forward["ildj/1"][:, 0], "log_det", **LOG_DET)


def test_total_log_det(encoded: SimpleNamespace, forward: dict[str, np.ndarray]) -> None:
    """Theirs has the entropies of the noisy levels in it, even without noise."""
    entropies = forward["ent/8"] + forward["ent/32"]
    total = sum(encoded.log_dets.values()) + entropies
    assert_close(total, forward["ildj_total"][:, 0], "log_det", **LOG_DET)


@over_levels
def test_mixings_log_det(level: str, encoded: SimpleNamespace, forward: dict[str, np.ndarray]) -> None:
    runs = [run for name, run in encoded.ready[level].items() if name not in ("start", "end")]
    per_pixel = sum(np.sum(run["mixing"]["log_abs_det"]) for run in runs)
    assert_close(int(level) ** 2 * per_pixel, forward[f"permlogdet/{level}"][0, 0], **LOG_DET)


# Generating


def test_reconstruction(encoded: SimpleNamespace, generate: Any, x: np.ndarray, forward: Any) -> None:
    y, log_dets = generate(encoded.z)
    assert_close(y["64"] / 4, x, "x", relative=0, absolute=5e-5)
    assert_close(y["64"] / 4, nhwc(forward["recon"]), "recon", relative=0, absolute=5e-5)
    for level in LEVELS:
        assert_close(log_dets[level], forward[f"fldj/{level}"][:, 0], f"fldj/{level}", **LOG_DET)
    assert_close(log_dets["prior"] + log_dets["y1"], forward["fldj/1"][:, 0], "fldj/1", **LOG_DET)


def test_sample(generate: Any, top: Any) -> None:
    data = load("tiny_a/sample")
    y, log_dets = generate(_latents(data, "Z"))
    for level in LEVELS[1:]:
        assert_close(y[level], nhwc(data[f"y/{level}"]), f"y/{level}")
    assert_close(_top_vector(y), nhwc(data["y/1"]), "y/1")
    assert_close(y["64"] / 4, nhwc(data["image"]), "image")
    assert_close(top(y)[0], data["gs"], "gs")
    assert_close(sum(log_dets.values()), data["fldj_total"][:, 0], "fldj_total", **LOG_DET)


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
def test_part(name: str, level: str, trained: Any, model: Hierarchy) -> None:
    part, key = trained[name][0].parts[level], f"part/{PARTS[level]}/"
    data = group(load(f"tiny_a/{name}"), key)
    assert_close(part.log_prior, data["prior"][:, 0], "prior", **LOG_DET)
    assert_close(part.log_det, data["ildj"][:, 0], "ildj", **LOG_DET)
    assert_close(part.entropy, np.broadcast_to(data["ent"], 4), "ent", **LOG_DET)
    scale = np.broadcast_to(data.get("log_scale_corr", 0.0), 4)
    assert_close(part.scale, scale, "log_scale_corr", **LOG_DET)
    weighted = model.level(level).weight * part.bits
    assert_close(weighted, data["weighted"][:, 0], "weighted", relative=0, absolute=2e-4)


@over_losses
@pytest.mark.parametrize("level", ["prior", "y1", "8", "32"])
def test_sigma(name: str, level: str, trained: Any, model: Hierarchy) -> None:
    sigma, data = trained[name][0].parts[level].sigma, load(f"tiny_a/{name}")
    assert_close(sigma, np.broadcast_to(data[f"std/{PARTS[level]}"], 4), "std")
    if level in ("prior", "y1"):
        scaled = model.level(level).flow_noise * sigma
        assert_close(scaled, np.broadcast_to(data[f"part/{PARTS[level]}/std"], 4), "std of the noise")


@pytest.mark.parametrize("level", ["8", "32"])
def test_noisy_latents(level: str, trained: Any) -> None:
    part = trained["loss_noise"][0].parts[level]
    assert_close(part.z, nhwc(load("tiny_a/loss_noise")[f"z/{level}"]), "z")


@over_losses
def test_noisy_top(name: str, encoded: SimpleNamespace, model: Hierarchy, top: Any) -> None:
    """The style network and the base see y_top with the decoders' noise."""
    data = load(f"tiny_a/{name}")
    _, decoder_in, _ = noise.perturb(model, encoded.y, _noise(model, name))
    style, split_conv, base = top(decoder_in)
    assert_close(style, data["gs"], "gs")
    assert_close(split_conv, nhwc(data["split_conv"]), "split_conv")
    assert_close(base, nhwc(data["endblock_decode"]), "endblock_decode")


@over_losses
def test_gradients(name: str, trained: Any, config: ConfigDict) -> None:
    data = load(f"tiny_a/{name}")
    ours, theirs = arrays.to_torch(trained[name][1], config), group(data, "grad/")
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


def test_actnorm_initialisation(model: Hierarchy, config: ConfigDict, losses: Any, x: np.ndarray) -> None:
    data = load("tiny_a/init")
    fresh = arrays.from_torch(group(data, "param/"), config)
    eps = noise.zeros(model, 4)
    params = jax.jit(model.calibrate)(fresh, x, eps)
    flat = arrays.to_torch(params, config)
    before, after = group(data, "param/"), group(data, "after/")
    moved = 0
    for key, value in after.items():
        assert_close(flat[key], value, key, relative=0, absolute=2e-5)
        moved += int(np.abs(value - before[key]).max() > 0.01)
    assert moved > 20
    for key in set(flat) - set(after):
        np.testing.assert_array_equal(flat[key], before[key], key)
    for key in ("loss_first_call", "loss_second_call"):
        assert_close(losses(params, eps)[0].loss, data[key][:, 0], key, relative=0, absolute=2e-4)
