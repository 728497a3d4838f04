"""What is in the box, and how it is put there."""

import json

import jax
import numpy as np
import pytest
from api_model import config as least_config
from api_model import params

from benchmarks import box as making
from hcflow_jax import api, box, checkpoint
from hcflow_jax.config import config_to_plain, default
from hcflow_jax.models import factory

MOST_BYTES = 10_000_000


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A run's workdir, whose pictures are few, and an empty box."""
    config = least_config().copy_and_resolve_references()
    with config.unlocked():
        config.data.path, config.execution.dtype = str(tmp_path / "drawn"), "bfloat16"
        config.data.train_images = config.data.eval_images = 8
    saved = checkpoint.Checkpoints(tmp_path / "run", keep=1)
    saved.save(9, {"ema": params()}, config)
    saved.close()
    rows = [{"seconds": 0.0}, {"seconds": 1800.0}, {"seconds": 5.0}, {"seconds": 3600.0}]
    (tmp_path / "run" / "history.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "box").mkdir()
    monkeypatch.setattr(box, "weights", lambda name: tmp_path / "box" / f"{name}.safetensors")
    monkeypatch.setattr(making, "shipped_config", lambda found: _with_path(shipped(found), tmp_path / "drawn"))
    return tmp_path / "run"


shipped = making.shipped_config


def _with_path(config, path):
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.data.path = str(path)
    return config


def test_what_is_shipped_names_no_place_and_no_execution_of_this_machine(workdir):
    found = checkpoint.load(workdir).config
    assert found.data.path and found.execution.dtype == "bfloat16"
    config = shipped(found)
    assert config.data.path == "" and config_to_plain(config.execution) == config_to_plain(default().execution)
    assert config.model == found.model


@pytest.mark.full
def test_a_card_is_made_of_what_was_measured(workdir, tmp_path):
    making.put(workdir, "portraits")
    results = making.measure("portraits", workdir) | making.draw("portraits", tmp_path / "pictures")
    assert results["metadata"]["step"] == 9 and results["metadata"]["hours"] == 1.5
    assert results["pictures"] == 8 and len(results["round_trips"]) == 10
    assert abs(results["held_out"]["total"] - results["held_out_float32"]["total"]) < 0.1
    text = making.box_card.write(results, api.load("portraits").config, "Heads are seen.")
    assert "Heads are seen." in text and "CC BY 4.0" in text and "1.50 hours" in text
    assert f"| held out | {results['held_out']['total']:.3f} +-" in text
    assert {p.name for p in (tmp_path / "pictures").iterdir()} == {
        "portraits_samples.png",
        "portraits_nearest.png",
        "portraits_zeroing.png",
    }


def test_weights_in_the_box_are_few_bytes_and_finite():
    assert sum(box.weights(name).stat().st_size for name in box.NAMES) <= MOST_BYTES
    for name in box.NAMES:
        model = api.load(name)
        shapes = factory.build(model.config).shapes()
        assert jax.tree.map(lambda a: a.shape, model._raw) == jax.tree.map(lambda a: a.shape, shapes)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model._raw))
        card = box.card(name).read_text()
        assert card.startswith(f"# {name}\n") and "held out" in card and ("licensed CC" in card or "CC0" in card)
