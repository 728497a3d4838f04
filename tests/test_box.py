"""The bundled pretrained models, and how they are made."""

import json
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from api_model import config as least_config
from api_model import params

from benchmarks import box as making
from benchmarks import box_card, box_runs
from hcflow_jax import api, box, checkpoint, models
from hcflow_jax.config import config_to_plain, default

MOST_BYTES = 10_000_000  # of a model


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A run's workdir, whose pictures are few, and an empty box."""
    config = least_config().copy_and_resolve_references()
    with config.unlocked():
        config.data.path, config.execution.dtype = str(tmp_path / "drawn"), "bfloat16"
        config.data.train_images = config.data.eval_images = 8
    module = SimpleNamespace(get_config=lambda: config.copy_and_resolve_references())
    monkeypatch.setitem(sys.modules, "configs.portraits", module)
    seconds = [0.0, 1800.0, 5.0, 3600.0]
    _save(tmp_path / "earlier", 5, config, seconds)
    later = config.copy_and_resolve_references()
    with later.unlocked():
        later.train.init_from, later.train.num_steps = str(tmp_path / "earlier"), 9
    _save(tmp_path / "run", 9, later, seconds[:2])
    (tmp_path / "box").mkdir()
    monkeypatch.setattr(box, "weights", lambda name: tmp_path / "box" / f"{name}.safetensors")
    monkeypatch.setattr(making, "shipped_config", lambda found: _with_path(shipped(found), tmp_path / "drawn"))
    return tmp_path / "run"


def _save(workdir, step, config, seconds):
    saved = checkpoint.Checkpoints(workdir, keep=1)
    saved.save(step, {"ema": params()}, config, {"next_index": 8 * step})
    saved.close()
    rows = [json.dumps({"seconds": second}) for second in seconds]
    (workdir / "history.jsonl").write_text("\n".join(rows))


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


def test_the_runs_that_made_a_model_are_told_with_commands_that_would_make_it_again(workdir):
    making.put(workdir, "portraits")
    first, second = checkpoint.load(box.weights("portraits")).metadata["runs"]
    assert (first["steps"], first["images"], first["hours"]) == (5, 40, 1.5)
    assert (second["steps"], second["images"], second["hours"]) == (9, 72, 0.5)
    assert first["command"] == "python -m hcflow_jax.main --config=configs/portraits.py --workdir=runs/earlier"
    assert "sigma" not in checkpoint.load(box.weights("portraits")).metadata
    (workdir / "sampling.json").write_text('{"sigma": {"8": 0.5}}')
    making.put(workdir, "portraits")
    assert checkpoint.load(box.weights("portraits")).metadata["sigma"] == {"8": 0.5}
    flags = second["command"].removeprefix(first["command"].replace("earlier", "run")).split()
    assert sorted(flags) == ["--config.train.init_from=runs/earlier", "--config.train.num_steps=9"]


def test_a_run_that_started_from_a_weights_file_names_the_run_that_made_it(workdir, tmp_path):
    making.put(workdir, "portraits")
    config = checkpoint.load(workdir).config.copy_and_resolve_references()
    with config.unlocked():
        config.train.init_from = str(box.weights("portraits"))
    _save(tmp_path / "third", 2, config, [60.0])
    told = box_runs.runs(tmp_path / "third", "portraits")
    assert [run["steps"] for run in told] == [5, 9, 2]
    assert "--config.train.init_from=runs/run" in told[-1]["command"].split()


@pytest.mark.slow
def test_a_run_that_started_from_the_box_goes_on_from_the_runs_of_that_model(workdir, tmp_path, monkeypatch):
    making.put(workdir, "portraits")
    config = checkpoint.load(workdir).config.copy_and_resolve_references()
    with config.unlocked():
        config.train.init_from = "portraits"
    monkeypatch.setitem(sys.modules, "configs.scenes", SimpleNamespace(get_config=lambda: config))
    _save(tmp_path / "scenes", 3, config, [60.0])
    told = box_runs.runs(tmp_path / "scenes", "scenes")
    assert [run["steps"] for run in told] == [5, 9, 3]
    assert told[-1]["command"].endswith("--config=configs/scenes.py --workdir=runs/scenes")


@pytest.mark.full
def test_a_card_is_made_of_what_was_measured(workdir, tmp_path, monkeypatch):
    making.put(workdir, "portraits")
    monkeypatch.setattr(making, "SAMPLES", 8)
    results = making.measure("portraits", workdir)
    making.draw("portraits", tmp_path / "pictures")
    assert results["metadata"]["step"] == 9
    assert results["pictures"] == 8 and len(results["round_trips"]) == 10
    assert abs(results["held_out"]["total"] - results["held_out_float32"]["total"]) < 0.1
    text = making.box_card.write(results, api.load("portraits").config, "Heads are seen.")
    assert "Heads are seen." in text and "CC BY 4.0" in text and "1.50 hours" in text and "9 steps of" in text
    assert f"| held out | {results['held_out']['total']:.3f} +-" in text
    for command in results["evaluated"]:
        assert f"    {command}\n" in text and "--checkpoint portraits" in command and "--samples 8" in command
    for number in ("frechet_toon-head ", "frechet_efficientnet-lite0 ", "precision", "hairColor", "exactness: "):
        assert number in text, number
    assert {p.name for p in (tmp_path / "pictures").iterdir()} == {
        "portraits_samples.png",
        "portraits_nearest.png",
        "portraits_zeroing.png",
    }


def test_statistics_are_stored_beside_the_same_tensors(workdir, monkeypatch):
    making.put(workdir, "portraits")
    before = checkpoint.load(box.weights("portraits"))
    monkeypatch.setattr(api.Model, "measure_statistics", lambda self: {"8": 0.25})
    assert making.store_statistics("portraits") == {"8": 0.25}
    after = checkpoint.load(box.weights("portraits"))
    jax.tree.map(np.testing.assert_array_equal, after.arrays, before.arrays)
    assert after.metadata == {**before.metadata, "statistics": {"8": 0.25}}
    assert config_to_plain(after.config) == config_to_plain(before.config)
    assert api.load("portraits").statistics == {"8": 0.25}
    assert [file.name for file in box.weights("portraits").parent.iterdir()] == ["portraits.safetensors"]


@pytest.mark.slow
def test_weights_in_the_box_are_few_bytes_and_finite():
    for name in box.NAMES:
        assert box.weights(name).stat().st_size <= MOST_BYTES
        model = api.load(name)
        shapes = models.build(model.config).shapes()
        assert jax.tree.map(lambda a: a.shape, model.params) == jax.tree.map(lambda a: a.shape, shapes)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(model.params))
        assert set(model.statistics) == set(model.level_names[:-1])
        assert all(0 < value < 5 for value in model.statistics.values())
        card = box.card(name).read_text()
        assert card.startswith(f"# {name}\n") and "held out" in card and ("licensed CC" in card or "CC0" in card)


def test_a_card_has_the_answers_of_evaluate_and_each_levels_sigma(monkeypatch):
    asked, status = [], [0]
    monkeypatch.setattr(making.cli, "main", lambda arguments: asked.append(arguments) or print("said") or status[0])
    said = making.evaluate("scenes", "landscape", 8)
    assert [each[each.index("--extractor") + 1] for each in asked] == ["landscape", "efficientnet-lite0"]
    assert list(said) == [" ".join(("hcflow", *each)) for each in asked] and set(said.values()) == {"said\n"}
    status[0] = 2
    with pytest.raises(SystemExit, match="^hcflow evaluate --checkpoint scenes .*: status 2$"):
        making.evaluate("scenes", "landscape", 8)
    assert box_card._sigma({"8": 1.0, "64": 0.7}) == "sigma 8=1 64=0.7" and box_card._sigma(0.7) == "sigma 0.7"
    assert box.NAMES[0] == "portraits64"  # the default
