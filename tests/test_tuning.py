"""Temperatures: found, kept after a stop, stored with the model, and taken by what samples from it."""

import json
import pickle
from types import SimpleNamespace
from typing import Any, cast

import measured_run
import numpy as np
import pytest
from measured_run import EXTRACTOR

from hcflow_jax import api, checkpoint, cli
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.data import identity, open_source
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import comparison, measured_set, protocols, tuning


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    measured_run.isolate(tmp_path / "cache", monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return measured_run.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def model(trained):
    return api.load(trained)


def of_sigma(model, sigma, samples=60, seed=5):
    """Features of the model's own samples at a temperature, as if these were real images."""
    images = [model.sample(samples, seed, sigma)]
    features = comparison.extract_batches("", samples, images, EXTRACTOR)
    return comparison.Side("real", features, comparison.moments(features), {})


@pytest.mark.situation("`hcflow tune-sigma` is stopped")
def test_the_temperature_of_the_reals_is_found_and_a_stopped_search_goes_on(model, tmp_path, monkeypatch):
    real, drawn = of_sigma(model, 0.4), []
    sample = api.Model.sample_batches

    def counting(self, n, seed, sigma, denoise):
        drawn.append(sigma)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return sample(self, n, seed, sigma, denoise=denoise)

    monkeypatch.setattr(api.Model, "sample_batches", counting)

    def search(seed=5, evaluations=12):
        kept = tuning.Kept(tmp_path / "kept.json", {"seed": seed})
        return tuning.tune(model, real, EXTRACTOR, kept, samples=60, seed=seed, evaluations=evaluations)

    with pytest.raises(KeyboardInterrupt):
        search()
    found = search()
    assert len(drawn) == len(found.tried) + 1 <= 13  # three were kept, and one was stopped
    assert abs(found.sigma["8"] - 0.4) < 0.02 and found.distance < 1e-3 < found.start_distance
    assert found.start == {"8": 1.0} and found.tried[0] == (found.start, found.start_distance)
    before = len(drawn)
    assert search() == found and len(drawn) == before
    search(seed=6, evaluations=4)  # of another search nothing is taken
    assert len(drawn) > before


@pytest.mark.parametrize("stored", [1.2, 0.1, 1.5])
def test_the_stored_temperature_is_evaluated_even_near_a_bound(model, tmp_path, monkeypatch, stored):
    monkeypatch.setattr(tuning, "frechet", lambda made, real: made)
    monkeypatch.setattr(comparison, "moments", lambda features: features)
    monkeypatch.setattr(comparison, "extract_batches", lambda name, count, sigma, *_, **__: abs(sigma["8"] - 1.21))
    monkeypatch.setattr(api.Model, "sample_batches", lambda self, n, seed, sigma, denoise: sigma)
    model.sigma, real = {"8": stored}, cast(Any, SimpleNamespace(statistics=None))
    kept, least = tuning.Kept(tmp_path / "kept.json", {}), tuning.least_evaluations(model)
    found = tuning.tune(model, real, EXTRACTOR, kept, evaluations=least)
    assert found.start == {"8": stored} and found.start_distance == pytest.approx(abs(stored - 1.21))
    assert len(found.tried) == least == 5 and found.distance <= found.start_distance
    with pytest.raises(InputError, match="evaluations is 4: 1 levels need at least 5"):
        tuning.tune(model, real, EXTRACTOR, kept, evaluations=4)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--samples", "1"], "--samples 1: a distance needs at least 2"),
        (["--evaluations", "3"], "--evaluations 3: a search with this model needs at least 4"),
    ],
)
def test_too_small_numbers_are_named_before_any_work(trained, monkeypatch, capsys, argv, said):
    monkeypatch.setattr(measured_set, "open_data", None)
    assert cli.main(["tune-sigma", "--checkpoint", str(trained), *argv]) == 2
    assert said in capsys.readouterr().err


def test_bad_arguments_are_named(model, tmp_path):
    real, kept = of_sigma(model, 1.0, 10), tuning.Kept(tmp_path / "kept.json", {})
    with pytest.raises(InputError, match="evaluations is 3: 1 levels need at least 4"):
        tuning.tune(model, real, EXTRACTOR, kept, evaluations=3)
    with pytest.raises(InputError, match="denoise: data.noise_std is 0"):
        tuning.tune(model, real, EXTRACTOR, kept, denoise=True)
    with pytest.raises(InputError, match="samples is 1"):
        tuning.tune(model, real, EXTRACTOR, kept, samples=1)
    (tmp_path / "kept.json").write_text("{")
    assert tuning.Kept(tmp_path / "kept.json", {}).get({"8": 1.0}) is None


@pytest.mark.situation("`sampling.json` in a workdir is damaged")
def test_what_is_stored_is_the_default(model, trained, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    checkpoint.save_file(path, model.params, model.config, {"step": 4})
    command = ["tune-sigma", "--samples", "12", "--evaluations", "5"]
    plain = api.load(path).sample(3)
    (tmp_path / "model.png").write_bytes(b"of the user")
    assert cli.main([*command, "--checkpoint", str(path)]) == 0
    said = capsys.readouterr().out
    kept, reals = json.loads((tmp_path / "model.tuning.json").read_bytes()), open_source(model.config, "train")
    places = protocols.Protocol("tuning", 12, reals="random").places(len(reals), 0)
    assert kept["about"]["images"] == identity.with_pixels(reals, places) != reals.identity
    assert said.count("frechet_quarters") == 6 and f"stored in {path}" in said
    assert (tmp_path / "model.sampling.png").is_file() and (tmp_path / "model.png").read_bytes() == b"of the user"
    tuned = api.load(path)
    assert isinstance(tuned.sigma, dict) and f"best: 8={tuned.sigma['8']:g}" in said
    np.testing.assert_array_equal(tuned.sample(3), model.sample(3, sigma=tuned.sigma))
    np.testing.assert_array_equal(tuned.draw(3)["8"], model.draw(3, sigma=tuned.sigma)["8"])
    np.testing.assert_array_equal(tuned.sample(3, sigma=1.0), plain)
    assert pickle.loads(pickle.dumps(tuned)).sigma == tuned.sigma and tuned.with_params(tuned.params).sigma is None
    assert checkpoint.load(path).metadata["sigma_about"]["metric"] == "frechet_quarters"

    assert api.load(trained).sigma is None
    try:
        assert cli.main([*command, "--checkpoint", str(trained)]) == 0
        assert api.load(trained).sigma == json.loads((trained / "sampling.json").read_text())["sigma"]
        assert api.load(trained / "checkpoints" / "4").sigma == api.load(trained).sigma
        assert (trained / "sampling.png").is_file()
        assert cli.main([*command, "--checkpoint", str(trained), "--plot", str(tmp_path / "plot.png")]) == 0
        assert (tmp_path / "plot.png").is_file()
        (trained / "sampling.json").write_text('{"sigma": -1}')
        with pytest.raises(CheckpointError, match="sampling.json: is damaged .*run hcflow tune-sigma again"):
            api.load(trained)
    finally:
        (trained / "sampling.json").unlink()


def test_without_noise_nothing_is_denoised(trained, capsys):
    assert cli.main(["tune-sigma", "--checkpoint", str(trained), "--denoise"]) == 2
    assert "denoise: data.noise_std is 0" in capsys.readouterr().err
    assert not (trained / "sampling.json").exists()


def test_a_bundled_model_is_not_changed(capsys):
    assert cli.main(["tune-sigma", "--checkpoint", "portraits"]) == 2
    assert "a bundled model cannot be changed; copy" in capsys.readouterr().err
