"""What version 0.1.0 stored is read: with fields that came since in every group, and with some that went."""

import json
import logging
import shutil
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from test_fields import registry_tree

from hcflow_jax import api, checkpoint, models
from hcflow_jax import config as schema
from hcflow_jax.config import ConfigError, fields, groups, registry, stored
from hcflow_jax.config.fields import Field, Rows
from hcflow_jax.config.registry import Rate
from hcflow_jax.models.hierarchy import schema as hierarchy
from hcflow_jax.training import loop

GOLDEN = Path(__file__).parent / "golden" / "checkpoint_v0_1"
BOX = Path(schema.__file__).parents[1] / "box"


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    with zipfile.ZipFile(GOLDEN / "workdir.zip") as archive:
        archive.extractall(tmp_path / "run")
    shutil.copy(GOLDEN / "images.zip", tmp_path)
    return tmp_path / "run"


def named(tree: Any, prefix: str) -> dict[str, np.ndarray]:
    """Arrays by their paths, as in the golden files."""
    found = jax.tree_util.tree_leaves_with_path({prefix: tree})
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in found}


def groups_of(tree: fields.Tree, prefix: str = "") -> dict[str, fields.Tree]:
    """Every group of a tree of fields by its path."""
    found = {prefix: tree}
    for name, node in tree.items():
        if not isinstance(node, Field):
            inner = node.row if isinstance(node, Rows) else node
            found |= groups_of(inner, f"{prefix}.{name}" if prefix else name)
    return found


DECLARED = {
    "data": groups.DATA,
    "train": groups.TRAIN,
    "eval": groups.EVAL,
    "sample": groups.SAMPLE,
    "execution": groups.EXECUTION,
    "model": hierarchy.FIELDS,
    "model.levels": hierarchy.ROW,
    "model.top": hierarchy.FIELDS["top"],
    "model.top.prior": hierarchy.FIELDS["top"]["prior"],  # pyright: ignore
    "model.top.y1": hierarchy.FIELDS["top"]["y1"],  # pyright: ignore
}
BY_RATE_GROUP = {"train.learning_rate", "train.decay"}


@pytest.fixture
def new_fields(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A field more in every group; what each is to be in a config that was stored before."""
    for declared in DECLARED.values():
        monkeypatch.setitem(declared, "came_since", Field(True, "a field that came since", before=False))  # pyright: ignore
    monkeypatch.setitem(hierarchy.RATES, "late", Rate(7.0, 0.5))
    expected = {path.replace("levels", "levels.r8") + ".came_since": False for path in DECLARED}
    return {**expected, "train.learning_rate.late": 7.0, "train.decay.late": 0.5}


def look(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = config[name]
    return config


def test_every_group_is_tried() -> None:
    assert set(groups_of(registry_tree())) - {""} == set(DECLARED) | BY_RATE_GROUP


def test_a_checkpoint_is_read_though_every_group_has_a_new_field(workdir: Path, new_fields: dict[str, Any]) -> None:
    found = checkpoint.load(workdir)
    assert {path: look(found.config, path) for path in new_fields} == new_fields
    assert found.config.model.family == "hierarchy" and found.config.model.levels.r8.hidden == 4
    assert (found.config.train.optimizer, found.config.train.warmup_images) == ("adam", 0)
    state = load_file(GOLDEN / "state_2.safetensors")
    expected = {name: value for name, value in state.items() if name.startswith("ema/")}
    for name, value in named(found.arrays["ema"], "ema").items():
        np.testing.assert_array_equal(value, expected.pop(name), err_msg=name)
    assert not expected


def test_a_weights_file_is_read_though_every_group_has_a_new_field(new_fields: dict[str, Any]) -> None:
    found = checkpoint.load(GOLDEN / "weights.safetensors")
    assert {path: look(found.config, path) for path in new_fields} == new_fields


@pytest.mark.parametrize("name", ["portraits", "scenes"])
def test_a_bundled_model_is_read_though_every_group_has_a_new_field(name: str, new_fields: dict[str, Any]) -> None:
    found = checkpoint.load(BOX / f"{name}.safetensors")
    assert {path: look(found.config, path) for path in new_fields} == new_fields


def test_a_model_is_made_from_either(workdir: Path) -> None:
    for where in (workdir, GOLDEN / "weights.safetensors"):
        model = api.load(where)
        assert model.config.model.family == "hierarchy" and model.config == checkpoint.load(workdir).config


def test_fields_that_exist_no_more_are_left_out_and_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stored, "_told", set())
    config = checkpoint.load(GOLDEN / "weights.safetensors").config
    plain = checkpoint.config_to_plain(config)
    for path in DECLARED:
        look(plain, path.replace("levels", "levels.r8"))["gone"] = [1, 2]
    plain["whole_group"] = {"of": 1}
    with caplog.at_level(logging.WARNING):
        assert checkpoint.config_from_plain(plain) == config
        assert checkpoint.config_from_plain(plain) == config
    named_ones = [record.getMessage() for record in caplog.records]
    assert len(named_ones) == len(DECLARED) + 1
    for path in (*DECLARED, "whole_group"):
        gone = path if path == "whole_group" else path.replace("levels", "levels.r8") + ".gone"
        assert sum(f"the field {gone}," in message for message in named_ones) == 1


def test_a_group_that_is_missing_has_its_defaults() -> None:
    plain = checkpoint.config_to_plain(schema.default())
    for group in ("data", "train", "eval", "sample", "execution", "seed"):
        del plain[group]
    assert checkpoint.config_from_plain(plain) == schema.default()


def test_a_config_is_stored_and_read_unchanged() -> None:
    config = checkpoint.load(GOLDEN / "weights.safetensors").config
    assert checkpoint.config_from_plain(json.loads(json.dumps(checkpoint.config_to_plain(config)))) == config


def test_a_stored_model_of_an_unknown_family_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checkpoint.load(GOLDEN / "weights.safetensors")
    config = found.config.copy_and_resolve_references()
    config.model.family = "other"
    checkpoint.save_file(tmp_path / "other.safetensors", found.arrays["ema"], config, {})
    with pytest.raises(ConfigError, match=r"^model\.family must be one of glow, hierarchy, not 'other'"):
        checkpoint.load(tmp_path / "other.safetensors")


def test_todays_families_build_what_was_stored() -> None:
    assert registry.names() == ("glow", "hierarchy")
    models.build(checkpoint.load(GOLDEN / "weights.safetensors").config)


@pytest.mark.full
def test_a_run_of_the_old_version_goes_on_where_it_stopped(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To what the old version itself came to after two steps more."""
    monkeypatch.chdir(workdir.parent)
    loop.train(checkpoint.load(workdir).config, workdir)
    said = capsys.readouterr().out
    assert "resuming at step 2" in said and "a field changed" not in said
    found = checkpoint.load(workdir, parts=("params",))
    before, after = load_file(GOLDEN / "state_2.safetensors"), load_file(GOLDEN / "state_4.safetensors")
    ours = named(found.arrays["params"], "params")
    assert found.step == 4 and ours.keys() == after.keys()
    moved = sum(float(np.sum(np.square(after[name] - before[name]))) for name in ours)
    apart = sum(float(np.sum(np.square(after[name] - ours[name]))) for name in ours)
    # Adam's first steps have the size of the learning rate also where the gradient is rounding alone.
    assert apart < 0.01 * moved
    rows = [json.loads(line) for line in (GOLDEN / "history.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows if row["kind"] == "train"}
    again = [json.loads(line) for line in (workdir / "history.jsonl").read_text().splitlines()]
    for row in (row for row in again if row["kind"] == "train"):
        np.testing.assert_allclose(row["loss"], losses.pop(row["step"]), rtol=1e-3)
    assert set(losses) == {1, 2}
