"""Glow against a public PyTorch implementation of it (`golden/glow`): two cases, an additive and an affine one."""

import math
from types import SimpleNamespace
from typing import Any

import glow_cases as cases
import jax
import numpy as np
import pytest
from glow_cases import CASES, NO_KEYS, nhwc
from golden_data import LOG_DET, assert_close, group, load

from hcflow_jax import flows
from hcflow_jax.interop import glow_names

over_cases = pytest.mark.parametrize("case", CASES)


def forward(case: str) -> dict[str, np.ndarray]:
    return load(f"glow/{case}/forward")


@pytest.fixture(scope="module")
def run() -> Any:
    """What the model gives for a case's images, each case compiled once: latents, bits and gradients."""
    done: dict[str, SimpleNamespace] = {}

    def of(case: str) -> SimpleNamespace:
        if case not in done:
            model = cases.model(case)

            def loss(params: Any, x: Any) -> Any:
                made = model.objective(params, x, NO_KEYS)
                return made.loss.mean(), made

            @jax.jit
            def everything(params: Any, x: Any) -> Any:
                (_, objective), gradient = jax.value_and_grad(loss, has_aux=True)(params, x)
                return *model.encode(params, x), objective, gradient

            names = ("z", "log_dets", "objective", "gradient")
            done[case] = SimpleNamespace(
                **dict(zip(names, everything(cases.params(case), cases.x(case)), strict=True))
            )
        return done[case]

    return of


@over_cases
def test_latents(case: str, run: Any) -> None:
    expected = cases.latents(case, "", "_eps")
    assert list(run(case).z) == list(expected)
    for level, eps in expected.items():
        assert_close(run(case).z[level], eps, level)


@over_cases
def test_log_densities(case: str, run: Any) -> None:
    """Each level's log N(eps; 0, 1) and their sum of -logs are theirs; so is the log-det of the steps."""
    data, resolution = forward(case), cases.config(case).data.resolution
    levels = cases.config(case).model.levels
    log_det = sum(run(case).log_dets.values())
    for i in range(levels):
        level = str(resolution // 2 ** (i + 1))
        name = f"split{i}" if i < levels - 1 else "top"
        logs = data[f"{name}_logs"] if i < levels - 1 else data["prior_logs"]
        eps = run(case).z[level]
        whitening = -np.broadcast_to(nhwc(logs), eps.shape).sum((1, 2, 3))
        log_det = log_det - whitening
        log_prior = flows.StandardNormal(eps.shape[1:]).log_prob(eps) + whitening
        assert_close(log_prior, data[f"{name}_log_prior"], name, **LOG_DET)
    assert_close(log_det, data["log_det"], "log_det", **LOG_DET)


@over_cases
def test_bits_per_dim(case: str, run: Any) -> None:
    objective = run(case).objective
    assert_close(objective.bits_per_dim, forward(case)["bpd_f64"], relative=0, absolute=1e-4)
    np.testing.assert_array_equal(objective.loss, objective.bits_per_dim)
    shares = sum(objective.bits_by_level.values()) + 8
    assert_close(shares, objective.bits_per_dim, relative=0, absolute=1e-5)


@over_cases
def test_gradients(case: str, run: Any) -> None:
    """Of every parameter: no name is left out but the weight that cannot learn."""
    theirs = group(load(f"glow/{case}/gradients"), "grad/")
    ours = glow_names.to_flat(run(case).gradient, cases.config(case))
    assert ours.keys() == theirs.keys()
    error = math.sqrt(sum(float(np.sum((ours[n] - theirs[n]) ** 2)) for n in theirs))
    norm = math.sqrt(sum(float(np.sum(theirs[n] ** 2)) for n in theirs))
    assert error <= 5e-4 * norm
    for name, gradient in theirs.items():
        assert_close(ours[name], gradient, name, relative=2e-3, absolute=1e-6)


@over_cases
def test_samples(case: str) -> None:
    z = cases.latents(case, "sample_eps_", "")
    made = jax.jit(lambda params, z: cases.model(case).decode(cases.model(case).prepare(params), z))
    assert_close(made(cases.params(case), z), nhwc(forward(case)["sample"]))


@over_cases
def test_initialisation(case: str) -> None:
    """Every actnorm after the first images, those in the couplings' networks too; the rest stays as it was."""
    data, model, config = load(f"glow/{case}/init"), cases.model(case), cases.config(case)
    fresh = group(data, "param/")
    params = glow_names.from_flat(fresh, config)
    done = jax.jit(model.calibrate)(params, cases.x(case), NO_KEYS)
    ours, after = glow_names.to_flat(done, config), group(data, "after/")
    assert len(after) == 6 * config.model.levels * config.model.steps
    for name, theirs in (fresh | after).items():
        assert_close(ours[name], theirs, name, relative=0, absolute=2e-5)
    bits = jax.jit(model.objective)(done, cases.x(case), NO_KEYS).bits_per_dim
    assert_close(bits, data["bpd_first_call"], relative=0, absolute=1e-4)


@over_cases
def test_fresh_parameters_are_drawn_as_theirs(case: str) -> None:
    """Zeros where theirs are zero; weights of std 0.05, and rotations."""
    config, fresh = cases.config(case), group(load(f"glow/{case}/init"), "param/")
    ours = glow_names.to_flat(cases.model(case).create(jax.random.key(0)), config)
    assert ours.keys() == fresh.keys()
    for name, theirs in fresh.items():
        if name.endswith("invconv.weight"):
            np.testing.assert_allclose(ours[name] @ ours[name].T, np.eye(len(theirs)), atol=1e-5)
        else:
            assert (np.std(ours[name]) == 0) == (np.std(theirs) == 0), name
    drawn = [np.ravel(a) for n, a in ours.items() if np.std(a) > 0 and not n.endswith("invconv.weight")]
    assert np.std(np.concatenate(drawn)) == pytest.approx(0.05, rel=0.05)
