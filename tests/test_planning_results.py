"""Planning: results of compiled steps: what they are of, how they are made of reports, and which are kept."""

import json

import jax
import least_config
import plan_results
import pytest
import toy_family

from benchmarks import plan_results as plan_reports
from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.commands import UsageError
from hcflow_jax.config import ConfigError, presets, registry
from hcflow_jax.models.execution import PRESETS
from hcflow_jax.planning import changes, kept, result
from hcflow_jax.planning.targets import Target

H200 = Target("h200")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def toy(monkeypatch):
    """The config of a model that is traced quickly."""
    monkeypatch.setitem(registry._modules, toy_family.NAME, "toy_family")
    config = schema.default(family=toy_family.NAME)
    config.data.resolution = 4
    return config


def test_a_gpus_result_comes_from_its_roofline(toy):
    target = Target("h200:8")
    config = result.for_target(toy, target, 8)
    report = {
        "roofline": {"ms_per_image": 2.0, "by_kind": {"collective": {"ms_per_image": 0.5}}},
        "memory_gigabytes": {"arguments": 0.3, "temporaries": 1.123456789, "outputs": 0.0},
        "all_reduces": {"number": 3, "megabytes": 1.5},
    }
    found = result.from_report(config, target, 8, report, "a command", "2026-11-29")
    assert found.ms_per_image == 1.5  # the time of the all-reduces is that of the link
    assert found.memory_bytes == {"arguments": 300_000_000, "temporaries": 1_123_456_789, "outputs": 0}
    assert found.collectives == {"number": 3, "bytes": 1_500_000} and found.devices == 8
    assert found.image_bytes == 8 * 4 * 4 * 3
    count = sum(leaf.size for leaf in jax.tree.leaves(models.build(toy).shapes()))
    assert found.state_bytes["parameters"] == found.state_bytes["EMA"] == 4 * count
    assert 8 * count <= found.state_bytes["optimizer"] < 8 * count + 100  # two moments, and counts
    tpu = result.from_report(config, Target("v5e:2x2"), 8, {**report, "ms_per_image": 7.0}, "a command")
    assert (tpu.ms_per_image, tpu.model_of_time, tpu.devices) == (7.0, "cycles", 4)


def test_what_decides_the_program():
    config = least_config.get_config()
    own = result.program_of(result.for_target(config, H200, 8))
    assert own["execution.dtype"] == "bfloat16" and own["execution.loop"] == "unroll"
    for text, same in (
        ("seed=3", True),
        ("train.num_steps=7", True),
        ("train.accumulate=2", False),
        ("model.levels.r16.hidden=16", False),
        ("execution.backward=recompute", False),
    ):
        name, _, value = text.partition("=")
        changed = changes.apply(config, [(name, value)])
        assert (result.program_of(result.for_target(changed, H200, 8)) == own) is same, text
    assert result.program_of(result.for_target(config, H200, 8, "float32")) != own
    assert result.program_of(result.for_target(config, Target("v5e:2x2"), 8)) != own
    assert config.execution.preset == "auto"


def test_the_batch_of_a_device():
    config = changes.apply(least_config.get_config(), [("train.accumulate", "2")])
    result.check_batch(config, H200, 16)
    with pytest.raises(
        ConfigError, match="--batch-per-device 12: must be a multiple of 8, the model's batch unit times"
    ):
        result.check_batch(config, H200, 12)


def test_a_kept_result_is_found_by_program_target_and_batch():
    config = least_config.get_config()
    one = plan_results.made()
    kept.keep(result.for_target(config, H200, 8), one)

    def find(target=H200, batch=8, precision=None, changed=()):
        given = changes.apply(config, changed)
        return kept.find(result.for_target(given, target, batch, precision), target, batch)

    assert find() == one
    assert find(changed=[("seed", "5")]) == one
    assert find(batch=16) is None
    assert find(precision="float32") is None
    assert find(target=Target("h200:8")) is None
    assert find(changed=[("model.levels.r16.hidden", "16")]) is None


def test_a_result_of_several_gpus_is_one_for_any_number_of_them(tmp_path, monkeypatch):
    config = least_config.get_config()
    monkeypatch.setattr(kept, "_PACKAGE", tmp_path)
    results = [plan_results.made(), plan_results.several("h200:2x8", 16), plan_results.several("h200:8", 8)]
    kept.write(tmp_path / "a.json", config, results)

    def find(name):
        found = kept.find(result.for_target(config, Target(name), 8), Target(name), 8)
        return found and found.target

    names = ("h200", "h200:8", "h200:2x8", "h200:32x8", "h200:2", "h100", "h100:8", "v5e:2x2")
    assert kept.find(result.for_target(config, H200, 16), H200, 16) is None
    assert [find(name) for name in names] == ["h200", "h200:8", "h200:2x8", "h200:8", "h200:8", None, None, None]


def test_a_damaged_result_of_the_user_is_as_if_it_were_not_there():
    config = result.for_target(least_config.get_config(), H200, 8)
    kept.keep(config, plan_results.made())
    path = kept._user_file(config, H200, 8)
    assert path is not None and path.is_file()
    for text in ("{", '{"config": {}}', "[]"):
        path.write_text(text)
        assert kept.find(config, H200, 8) is None


def test_the_packages_results_are_of_configuration_a():
    config = presets.config("celebahq_a")
    for name, batch in (("h200", 16), ("h200", 64), ("h200:8", 16), ("h200:8", 64), ("h200:32x8", 16)):
        target = Target(name)
        found = kept.find(result.for_target(config, target, batch), target, batch)
        assert found is not None, (name, batch)
        assert found.state_bytes["parameters"] == found.state_bytes["EMA"] == 4 * 77_118_712
        assert found.command.startswith("python -m benchmarks.compile_for --target h200")
        # All-reduces are the gradients and a few metrics.
        summed = found.collectives["bytes"] / found.state_bytes["parameters"]
        assert summed == 0 if target.size == 1 else 1 <= summed < 1.001
        other = result.for_target(presets.config("ffhq_a"), target, batch)
        assert kept.find(other, target, batch) == found  # another data set, and the same program
        assert sum(found.memory_bytes.values()) > sum(found.state_bytes.values()) + found.image_bytes


def test_a_packaged_result_is_not_used_after_a_change_of_the_preset(monkeypatch):
    config, h200, v5e = presets.config("celebahq_a"), Target("h200"), Target("v5e:2x2")
    tpus = ["v5e:16x16 at 8", "v5e:2x2 at 4", "v5e:2x2 at 8"]
    gpus = ["h200 at 16", "h200 at 64", "h200:8 at 16", "h200:8 at 64"]
    assert kept.known(config) == [*gpus, *tpus]
    assert kept.find(result.for_target(config, v5e, 8), v5e, 8)
    monkeypatch.setitem(PRESETS["gpu"], "conv", "xla")
    assert kept.known(config) == tpus
    assert kept.find(result.for_target(config, h200, 16), h200, 16) is None


def test_the_packages_results_are_made_of_reports(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan_reports.presets, "read", lambda given: toy)
    report = {
        "config": "toy.py",
        "target": "h200:8",
        "batch_per_device": 8,
        "program": "train",
        "model": {},
        "execution": result.resolve_execution(result.for_target(toy, H200, 8).execution),
        "jax": "0.0.1",
        "roofline": {"ms_per_image": 2.0, "by_kind": {"collective": {"ms_per_image": 0.5}}},
        "memory_gigabytes": {"arguments": 0.3, "temporaries": 1.0, "outputs": 0.0},
        "all_reduces": {"number": 3, "megabytes": 1.5},
    }
    out = tmp_path / "toy.json"

    def make(**changed):
        path = tmp_path / "report.json"
        path.write_text(json.dumps({**report, **changed}))
        return plan_reports._run([str(path), "--out", str(out)])

    for changed in ({}, {"target": "h200"}, {"jax": "0.0.2"}):
        assert make(**changed) == 0
    made = {each.target: each for _, each in kept._read(out)}
    assert set(made) == {"h200", "h200:8"} and made["h200:8"].jax == "0.0.2" and made["h200"].jax == "0.0.1"
    assert made["h200"].command.endswith("--target h200 --config toy.py --batch 8 --precision bfloat16")
    for changed in ({"program": "frozen"}, {"model": {"steps": 3}}, {"execution": {"dtype": "bfloat16"}}):
        with pytest.raises(UsageError, match="is not of a training step with the fields of toy.py alone"):
            make(**changed)
