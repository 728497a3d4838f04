"""What the study measures of a run is what `hcflow evaluate` measures; on a toy run."""

import dataclasses

import jax
import measured_run
import numpy as np
import pytest
from measured_run import EXTRACTOR

from benchmarks.study import claims, reals, runs, sheets
from benchmarks.study.plan import Run
from hcflow_jax import api
from hcflow_jax.data import open_source
from hcflow_jax.evaluation import metrics, protocols, tuning

pytestmark = pytest.mark.slow
METRICS = ("frechet", "kid", "prc")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    measured_run.isolate(tmp_path / "cache", monkeypatch)
    monkeypatch.setattr(sheets, "WEIGHTS", tmp_path / "weights")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return measured_run.train(tmp_path_factory.mktemp("trained"))


def evaluated(model, sigma):
    """The numbers of `hcflow evaluate` for 8 samples."""
    options = metrics.Options(protocol=protocols.with_samples(protocols.PLAIN, 8), sigma=sigma)
    held_out = open_source(model.config, "eval")
    found = metrics.distances(model, held_out, METRICS, options, EXTRACTOR, lambda *_: None).values
    assert found.pop("not_finite") == 0
    return {name: value for name, value in found.items() if name != "protocol"}


def test_distances_are_those_of_evaluate(trained, tmp_path):
    found = runs.measure(Run("portraits_a", samples=8), trained, lambda line: None)
    model = api.load(trained)
    own = found["distances"][EXTRACTOR.name]
    assert {name: value for name, value in own.items() if name != "protocol"} == evaluated(model, 1.0)
    assert own["protocol"]["generated"]["sigma"] == 1.0 and found["sampling"]["images_per_second"] > 0
    assert found["sampling"]["not_finite"] == 0
    assert found["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(model.params))
    with np.load(trained / "samples.npz") as kept:
        np.testing.assert_array_equal(kept["arr_0"], model.sample(8, seed=0, sigma=1.0))
    [(name, again)] = sheets._models(tmp_path / "no workdirs", "portraits", "ac").items()
    assert name == "a" and again.config == model.config
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), again.params, model.params)


def test_tuned_temperatures_are_measured_and_leave_the_samples(trained, monkeypatch):
    model = api.load(trained)
    best = tuning.Tuned({"8": 0.5}, 1.0, {"8": 1.0}, 2.0, (({"8": 0.5}, 1.0),))
    monkeypatch.setattr(tuning, "tune", lambda *given, **how: best)
    monkeypatch.setattr(runs, "TUNING_SAMPLES", 8)
    np.savez(trained / "samples.npz", arr_0=np.zeros(1))
    found = runs.measure_tuned(Run("portraits_a", samples=8), trained, lambda line: None)
    own = found["distances"][EXTRACTOR.name]
    assert {name: value for name, value in own.items() if name != "protocol"} == evaluated(model, {"8": 0.5})
    assert (found["sigma"], found["distance"], found["before"]) == ({"8": 0.5}, 1.0, 2.0)
    with np.load(trained / "samples.npz") as kept:
        assert kept["arr_0"].shape == (1,)


def test_claims_are_of_these_samples_and_reals(trained, monkeypatch):
    for name, value in {"VARIED": 2, "BETWEEN": 4, "SPECTRA": 6}.items():
        monkeypatch.setattr(claims, name, value)
    monkeypatch.setattr(claims, "NOISY", dataclasses.replace(claims.NOISY, samples=6))
    rng = np.random.default_rng(0)
    board = (np.indices((8, 8)).sum(0) % 2 * 200)[..., None] + rng.integers(0, 50, (8, 8, 8, 3))
    found = claims.measure(api.load(trained), board.astype(np.uint8), lambda line: None)
    lattices = {side: found["spectrum"][side]["lattice"]["period_2"]["value"] for side in ("samples", "reals")}
    assert lattices["samples"] > 10 * lattices["reals"] > 0
    assert found["variation"]["protocol"]["images"] == 2
    for how in ("linear", "spherical"):
        protocol = found["midpoints"][how]["protocol"]
        assert (protocol["how"], protocol["count"], protocol["count_real"]) == (how, 4, 8)


def test_real_images_are_compared_with_and_without_noise(trained, monkeypatch):
    config = api.load(trained).config
    monkeypatch.setattr(reals.presets, "config", lambda name: config.copy_and_resolve_references())
    monkeypatch.setattr(reals, "CHEAP_AND_DEAR", (None,))
    found = reals.measure("portraits", lambda line: None)
    assert list(found) == ["0.0", "0.005", "0.025"]
    values = [each[EXTRACTOR.name] for each in found.values()]
    half = len(open_source(config, "eval")) // 2
    assert {each["count"] for each in values} == {half}
    stds = [each["protocol"]["generated"]["noise_std"] for each in values]
    assert stds == [0.0, 0.005, 0.025] and {each["protocol"]["real"]["noise_std"] for each in values} == {0.0}
    assert len({each[EXTRACTOR.metric] for each in values}) == 3
