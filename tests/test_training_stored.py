"""What a checkpoint holds of a training state, and the checkpoints of earlier versions."""

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import training_fakes as fakes
from PIL import Image

from hcflow_jax import checkpoint
from hcflow_jax.parameters import path_name
from hcflow_jax.training import groups, loop

OLD = Path(__file__).parent / "golden" / "run_v0_1"
PARTS = ("step", "params", "opt_state", "ema")


@pytest.fixture(autouse=True)
def fake_model(monkeypatch):
    fakes.install(monkeypatch.setattr)


def config(folder, **train):
    return fakes.config(folder / "images", images_per_epoch=8, eval_every=0, freeze_epoch=2, **train)


def test_a_run_of_version_0_1_goes_on_as_it_would_have(tmp_path, capsys):
    shutil.copytree(OLD / "checkpoints", tmp_path / "run" / "checkpoints")
    assert loop.train(config(tmp_path), tmp_path / "run")["resumed_from"] == 3
    assert "resuming at step 3" in capsys.readouterr().out
    end = checkpoint.load(tmp_path / "run", ("params", "ema")).arrays
    # With 64 bits the schedule's and Adam's scalars are rounded later.
    atol = 1e-6 if jax.config.values["jax_enable_x64"] else 1e-7
    with np.load(OLD / "end.npz") as expected:
        for path, leaf in jax.tree_util.tree_leaves_with_path(end):
            np.testing.assert_allclose(leaf, expected[path_name(path)], rtol=1e-6, atol=atol)


@pytest.mark.slow
def test_a_run_resumes_whatever_the_size_of_the_packed_vectors(tmp_path, monkeypatch):
    loop.train(config(tmp_path), tmp_path / "whole")
    loop.train(config(tmp_path, num_steps=3), tmp_path / "cut")
    monkeypatch.setattr(groups, "CHUNK", 2)
    loop.train(config(tmp_path), tmp_path / "cut")
    whole, cut = (checkpoint.load(tmp_path / name, PARTS).arrays for name in ("whole", "cut"))
    assert jax.tree.structure(whole) == jax.tree.structure(cut)
    jax.tree.map(np.testing.assert_array_equal, whole, cut)


@pytest.mark.slow
def test_a_run_with_muon_resumes_as_it_would_have_gone_on(tmp_path, monkeypatch, capsys):
    """Also through the freeze of the encoder, at step 4."""
    fresh = fakes.Model.create

    def create(self, key):
        made = fresh(self, key)
        made["decoder"]["8"]["dense"] = {"w": 0.1 * jax.random.normal(key, (3, 4))}
        made["encoder"]["stage_0"]["w"] = 0.1 * jax.random.normal(key, (2, 3, 3, 2, 4))
        return made

    def mean(self, params):
        return sum(leaf.reshape(3, -1).sum(1) for leaf in jax.tree.leaves(params))

    monkeypatch.setattr(fakes.Model, "create", create)
    monkeypatch.setattr(fakes.Model, "mean", mean)
    loop.train(config(tmp_path, optimizer="muon"), tmp_path / "whole")
    loop.train(config(tmp_path, optimizer="muon", num_steps=3), tmp_path / "cut")
    loop.train(config(tmp_path, optimizer="muon"), tmp_path / "cut")
    assert "resuming at step 3" in capsys.readouterr().out
    whole, cut = (checkpoint.load(tmp_path / name, PARTS).arrays for name in ("whole", "cut"))
    jax.tree.map(np.testing.assert_array_equal, whole, cut)
    assert not (whole["opt_state"]["mu"]["decoder"]["8"]["dense"]["w"] == 0).any()
    assert whole["opt_state"]["nu"]["decoder"]["8"]["dense"]["w"].shape == ()


@pytest.mark.slow
def test_moments_are_stored_in_the_shape_of_the_parameters(tmp_path):
    loop.train(config(tmp_path, num_steps=1), tmp_path / "run")
    found = checkpoint.load(tmp_path / "run", PARTS).arrays
    for moments in ("mu", "nu"):
        assert jax.tree.map(np.shape, found["opt_state"][moments]) == jax.tree.map(np.shape, found["params"])
    assert {group: int(count) for group, count in found["opt_state"]["count"].items()} == {
        "encoder": 1,
        "decoder": 1,
        "flows": 1,
    }


def test_a_checkpoint_holds_the_statistics_that_single_images_take(tmp_path, monkeypatch):
    def spread(self, params, x):
        return {"prior": jnp.std(x)}

    monkeypatch.setattr(fakes.Model, "batch_statistics", spread)
    loop.train(config(tmp_path, num_steps=1), tmp_path / "run")
    stored = checkpoint.load(tmp_path / "run").metadata["statistics"]
    # Four pictures are held out, one batch unit: 8-bit noise, dequantised and with the data's own noise on it.
    pictures = np.stack([np.asarray(Image.open(tmp_path / "images" / f"{i}.png")) for i in range(24, 28)])
    assert stored["prior"] == pytest.approx(np.std(pictures / 256), rel=0.01)


def test_a_model_whose_images_stand_alone_stores_no_statistics(tmp_path, monkeypatch):
    monkeypatch.setattr(fakes.Model, "batch_unit", 1)
    loop.train(config(tmp_path, num_steps=1), tmp_path / "run")
    assert checkpoint.load(tmp_path / "run").metadata["statistics"] == {}
