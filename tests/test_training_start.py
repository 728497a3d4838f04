"""A fresh run that starts from a trained model: what it takes of it, what it does not, and what is refused."""

import json

import jax
import numpy as np
import pytest
import training_fakes as fakes

from hcflow_jax import checkpoint
from hcflow_jax.config import ConfigError
from hcflow_jax.training import initialise, loop, sharding
from hcflow_jax.training import state as states
from hcflow_jax.training.optimizer import Optimizer


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    fakes.install(monkeypatch.setattr)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A config and the workdir of its run, whose EMA is not its parameters."""
    folder = tmp_path_factory.mktemp("trained")
    config = fakes.config(folder / "images", images_per_epoch=4, eval_every=0)
    with pytest.MonkeyPatch.context() as monkeypatch:
        fakes.install(monkeypatch.setattr)
        loop.train(config, folder / "run")
    return config, folder / "run"


def starting_from(trained, **train):
    config = trained[0].copy_and_resolve_references()
    config.train.update({"init_from": str(trained[1]), **train})
    return config


def optimizer(config):
    return Optimizer.of(fakes.Model(), config)


def from_checkpoint(config):
    return initialise.from_checkpoint(optimizer(config), config, sharding.make_mesh(config, 4))


def assert_equal(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_ema_is_taken_and_all_else_is_fresh(trained):
    config = starting_from(trained)
    found = from_checkpoint(config)
    stored = checkpoint.load(trained[1], ("ema", "params")).arrays
    assert np.any(stored["ema"]["flows"]["8"]["b"] != stored["params"]["flows"]["8"]["b"])
    fresh = states.create(stored["ema"], optimizer(config))
    assert_equal((found.params, found.ema, found.opt_state), (fresh.params, fresh.ema, fresh.opt_state))
    assert_equal(optimizer(config).packing.unpack(found.ema), stored["ema"])
    assert int(found.step) == 0


def test_a_step_may_be_named(trained):
    config = starting_from(trained, init_from=str(trained[1] / "checkpoints" / "3"))
    found = from_checkpoint(config)
    stored = checkpoint.load(trained[1] / "checkpoints" / "3").arrays["ema"]
    assert_equal(optimizer(config).packing.unpack(found.params), stored)


def test_a_run_starts_there_and_resumes_from_its_own(trained, tmp_path, capsys, monkeypatch):
    shapes = fakes.Model().shapes()
    monkeypatch.setattr(fakes.Model, "shapes", lambda model: shapes)
    monkeypatch.setattr(fakes.Model, "create", None)  # neither drawn
    monkeypatch.setattr(fakes.Model, "calibrate", None)  # nor initialised from images
    result = loop.train(starting_from(trained), tmp_path / "whole")
    out = capsys.readouterr().out
    assert f"starting from the EMA of {trained[1]}, step 6" in out and "initialised" not in out
    before = json.loads((trained[1] / "result.json").read_text())["end"]
    assert result["start"]["bits_per_dim"] == pytest.approx(before["bits_per_dim"], rel=1e-6)
    assert result["resumed_from"] is None and result["end"]["bits_per_dim"] < before["bits_per_dim"]

    loop.train(starting_from(trained, num_steps=3), tmp_path / "cut")
    capsys.readouterr()
    elsewhere = starting_from(trained, init_from=str(tmp_path / "absent"))  # not looked at any more
    assert loop.train(elsewhere, tmp_path / "cut")["resumed_from"] == 3
    out = capsys.readouterr().out
    assert "resuming at step 3" in out and "starting from" not in out
    parts = ("step", "params", "opt_state", "ema")
    assert_equal(*(checkpoint.load(tmp_path / name, parts).arrays for name in ("whole", "cut")))


def test_another_model_is_refused_with_its_fields(trained, tmp_path):
    config = starting_from(trained)
    config.model.encoder_multiplier, config.model.top.style_layers = 1.0, 2
    config.train.clip_norm = 1.0  # how it was trained does not matter
    named = (
        rf"^train\.init_from={trained[1]}: its model differs from that of this config: "
        r"model\.encoder_multiplier: 10\.0 -> 1\.0; model\.top\.style_layers: 6 -> 2; set it back"
    )
    with pytest.raises(ConfigError, match=named) as error:
        loop.train(config, tmp_path / "run")
    assert "clip_norm" not in str(error.value) and "\n" not in str(error.value)


def test_a_path_without_a_checkpoint_is_refused(trained, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, message in (("absent", "no such directory"), ("empty", "no checkpoints/ in it")):
        config = starting_from(trained, init_from=str(tmp_path / name))
        with pytest.raises(ConfigError, match=rf"^train\.init_from: {tmp_path / name}: {message}"):
            loop.train(config, tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
