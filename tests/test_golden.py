"""Encoding and generating against the authors' network: a case of three levels with every kind of part (`golden/`).

Tolerances are about ten times the distance between the authors' own float32 and float64.
"""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from golden_data import LOG_DET, assert_close, load, nhwc
from golden_model import model, params, top

LEVELS = ("64", "32", "8")

over_levels = pytest.mark.parametrize("level", LEVELS)


@pytest.fixture(scope="module")
def forward() -> dict[str, np.ndarray]:
    return load("tiny_a/forward")


@pytest.fixture(scope="module")
def x(forward: dict[str, np.ndarray]) -> Any:
    return nhwc(forward["x"])


@pytest.fixture(scope="module")
def encoded(x: Any) -> SimpleNamespace:
    """y's, latents, log-dets and conditions of the images."""

    @jax.jit
    def run(params: Any, x: Any) -> dict[str, Any]:
        ready = model().prepare(params)
        y = model().features(ready, x)
        z, log_dets = model().encode(ready, x)
        return dict(y=y, z=z, log_dets=log_dets, cond=model().conditions(ready, y), ready=ready["flows"])

    return SimpleNamespace(**run(params(), x))


@pytest.fixture(scope="module")
def generate() -> Any:
    """Latents -> y's and log-dets, compiled once."""
    run = jax.jit(lambda params, z: model().generate(model().prepare(params), z))
    return lambda z: run(params(), z)


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


def test_style_and_base(encoded: SimpleNamespace, forward: dict[str, np.ndarray]) -> None:
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


def test_decoder_skips(encoded: SimpleNamespace, forward: dict[str, np.ndarray]) -> None:
    """What one level's decoder hands to the next finer one, and its features before the heads."""
    style, _, base = top(encoded.y)
    decoder = model().level("8").decoder
    assert decoder is not None

    @jax.jit
    def run(own: Any) -> Any:
        return decoder.apply({"params": own}, base, None, style, capture_intermediates=True)

    (_, skip), inside = run(params()["decoder"]["8"])
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
    assert_close(int(level) ** 2 * per_pixel, forward[f"permlogdet/{level}"][0, 0], "sum", **LOG_DET)


# Generating


def test_reconstruction(encoded: SimpleNamespace, generate: Any, x: Any, forward: Any) -> None:
    y, log_dets = generate(encoded.z)
    assert_close(y["64"] / 4, x, "x", relative=0, absolute=5e-5)
    assert_close(y["64"] / 4, nhwc(forward["recon"]), "recon", relative=0, absolute=5e-5)
    for level in LEVELS:
        assert_close(log_dets[level], forward[f"fldj/{level}"][:, 0], f"fldj/{level}", **LOG_DET)
    assert_close(log_dets["prior"] + log_dets["y1"], forward["fldj/1"][:, 0], "fldj/1", **LOG_DET)


def test_sample(generate: Any) -> None:
    data = load("tiny_a/sample")
    y, log_dets = generate(_latents(data, "Z"))
    for level in LEVELS[1:]:
        assert_close(y[level], nhwc(data[f"y/{level}"]), f"y/{level}")
    assert_close(_top_vector(y), nhwc(data["y/1"]), "y/1")
    assert_close(y["64"] / 4, nhwc(data["image"]), "image")
    assert_close(top(y)[0], data["gs"], "gs")
    assert_close(sum(log_dets.values()), data["fldj_total"][:, 0], "fldj_total", **LOG_DET)
