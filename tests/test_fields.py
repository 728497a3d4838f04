"""The declarations of fields: what is made from them, and a family of one's own that declares some."""

import types
from pathlib import Path
from typing import Any

import pytest
from least_config import get_config

from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.config import ConfigError, fields, registry, table
from hcflow_jax.config.fields import COUNT, NOT_NEGATIVE, REQUIRED, WHOLE, Field, Rows
from hcflow_jax.config.registry import Rate
from hcflow_jax.flows.reversible import BACKWARD
from hcflow_jax.nets import convolution, resample
from hcflow_jax.training.groups import UPDATES

TREE: fields.Tree = {
    "count": Field(3, "a count", "steps", COUNT, resume=True),
    "group": {"inner": Field(0.5, "a number", rule=NOT_NEGATIVE)},
    "rows": Rows({"width": Field(REQUIRED, "", rule=COUNT), "skip": Field(0, "", rule=WHOLE)}, "r<n>", "rows"),
}


def test_defaults_have_the_shape_of_the_tree() -> None:
    assert fields.defaults(TREE).to_dict() == {"count": 3, "group": {"inner": 0.5}, "rows": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "count must be a whole number above 0, not 0"),
        ({"group": {"inner": float("nan")}}, "group.inner must be 0 or more, not nan"),
        ({"group": {}}, "group.inner is missing"),
        ({"rows": {"r8": {"width": 1, "skip": -1}}}, "rows.r8.skip must be a whole number, 0 or more, not -1"),
        ({"rows": {"r8": {"skip": 1}}}, "rows.r8.width is missing"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], message: str) -> None:
    good = fields.defaults(TREE).to_dict()
    fields.check(good, TREE)
    with pytest.raises(ConfigError, match=f"^{message}"):
        fields.check({**good, **change}, TREE)


def test_a_stored_config_is_completed_and_what_exists_no_more_is_named() -> None:
    tree = {**TREE, "late": Field(True, "since then", before=False)}
    stored = {"count": 5, "gone": 1, "group": {"old": {"x": 1}}, "rows": {"r8": {"width": 2, "lost": 0}}}
    made, dropped = fields.complete(stored, tree)
    assert made == {"count": 5, "group": {"inner": 0.5}, "rows": {"r8": {"width": 2, "skip": 0}}, "late": False}
    assert dropped == ["gone", "group.old", "rows.r8.lost"]


def test_a_group_that_became_a_field_or_a_field_that_became_a_group_has_its_default() -> None:
    made, dropped = fields.complete({"count": {"x": 1}, "group": 7}, TREE)
    assert made == {"count": 3, "group": {"inner": 0.5}, "rows": {}}
    assert set(dropped) == {"count", "group"}


def test_a_field_is_found_by_its_path() -> None:
    assert fields.find(TREE, "rows.r64.skip") is not None and fields.find(TREE, "group.inner") is not None
    for path in ("group", "rows.r64", "group.inner.x", "absent"):
        assert fields.find(TREE, path) is None


def test_another_default_needs_a_field() -> None:
    assert fields.defaults(fields.replace_defaults(TREE, {"group.inner": 2.0})).group.inner == 2.0
    for path in ("absent", "group", "group.absent"):
        with pytest.raises(KeyError):
            fields.replace_defaults(TREE, {path: 1})


def test_the_docs_list_every_field_as_it_is_declared() -> None:
    stored = (Path(__file__).parents[1] / "docs" / "config.md").read_text()
    assert stored == table.markdown(), "python -m hcflow_jax.config > docs/config.md"


def test_every_default_is_allowed() -> None:
    schema.check(get_config())


def test_the_choices_of_execution_are_those_that_there_are() -> None:
    tree = registry_tree()["execution"]
    assert isinstance(tree, dict)
    for name, choices in (
        ("conv", ("auto", *convolution.IMPLEMENTATIONS)),
        ("resample", ("auto", *resample.IMPLEMENTATIONS)),
        ("update", ("auto", *UPDATES)),
        ("backward", BACKWARD),
    ):
        assert tree[name].rule.must == f"be one of {', '.join(choices)}"


def registry_tree() -> Any:
    from hcflow_jax.config.schema import tree

    return tree("hierarchy")


def test_what_may_change_on_resume() -> None:
    config = get_config()
    free = {path for path, field in fields.leaves(registry_tree()) if field.resume}
    assert {path.split(".")[0] for path in free} == {"data", "train", "eval", "sample", "execution"}
    assert schema.may_change(config, "train.num_steps") and schema.may_change(config, "execution.backward")
    for path in ("seed", "model.family", "train.optimizer", "train.learning_rate.flows", "model.levels.r8.hidden"):
        assert not schema.may_change(config, path)
    assert not schema.may_change(config, "train.no_such_field")


def test_only_one_warm_up_may_be_set() -> None:
    config = get_config()
    config.train.warmup_steps = 10
    schema.check(config)
    config.train.warmup_images = 100
    with pytest.raises(ConfigError, match=r"^train\.warmup_images must be 0 where train\.warmup_steps is set"):
        models.build(config)


@pytest.mark.parametrize("optimizer", ["adam", "adamax", "muon", "sgd"])
def test_the_optimizers_that_there_are(optimizer: str) -> None:
    config = get_config()
    config.train.optimizer = optimizer
    if optimizer == "sgd":
        with pytest.raises(ConfigError, match=r"^train\.optimizer must be one of adam, adamax, muon, not 'sgd'"):
            schema.check(config)
    else:
        schema.check(config)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A family "toy" of one field, whose models are of batch unit 2."""
    model = types.SimpleNamespace(batch_unit=2, rate_groups=(("all", ""),))
    family = types.SimpleNamespace(
        FIELDS={"width": Field(4, "its width", rule=COUNT)},
        RATES={"all": Rate(1e-3)},
        DEFAULTS={"train.optimizer": "adamax", "train.batch_size": 2},
        check=lambda config: fields.need("model.width", config.model.width < 9, "be below 9", config.model.width),
        build=lambda config: model,
    )
    monkeypatch.setattr(registry, "_modules", dict(registry._modules))
    monkeypatch.setitem(__import__("sys").modules, "toy_family", family)  # pyright: ignore
    schema.register("toy", "toy_family")
    return family


def test_a_family_declares_its_fields_rates_and_other_defaults(toy: types.SimpleNamespace) -> None:
    config = schema.default(family="toy")
    assert config.is_locked and config.model.to_dict() == {"family": "toy", "width": 4}
    assert config.train.learning_rate.to_dict() == {"all": 1e-3} and config.train.decay.to_dict() == {"all": 1.0}
    assert (config.train.optimizer, config.train.batch_size) == ("adamax", 2)
    assert schema.default().train.optimizer == "adam"
    assert models.build(config) is toy.build(config)
    assert schema.config_from_plain({"model": {"family": "toy"}}) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.width": 0}, r"model\.width must be a whole number above 0, not 0"),
        ({"model.width": 9}, r"model\.width must be below 9, not 9"),
        ({"train.batch_size": 3}, r"train\.batch_size must be a multiple of the model's batch unit, 2, not 3"),
        ({"model.family": "other"}, r"model\.family must be one of glow, hierarchy, toy, not 'other'"),
        ({"model.family": "hierarchy"}, r"model\.levels is missing"),
    ],
)
def test_a_wrong_config_of_a_family_is_refused(toy: Any, change: dict[str, Any], message: str) -> None:
    config = schema.default(family="toy")
    config.update_from_flattened_dict(change)
    with pytest.raises(ConfigError, match=f"^{message}"):
        models.build(config)


def test_rate_groups_that_the_family_does_not_declare_are_a_fault(toy: types.SimpleNamespace) -> None:
    toy.RATES = {"other": Rate(1e-3)}
    with pytest.raises(ValueError, match=r"rate groups are \['all'\], and its family declares \['other'\]"):
        models.build(schema.default(family="toy"))


def test_a_name_is_registered_once(toy: types.SimpleNamespace) -> None:
    schema.register("toy", "toy_family")
    with pytest.raises(ConfigError, match="^model.family 'hierarchy' is already hcflow_jax.*"):
        schema.register("hierarchy", "toy_family")


def test_an_unknown_family_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"^model\.family must be one of glow, hierarchy, not 'toy'"):
        schema.default(family="toy")
    with pytest.raises(ConfigError, match=r"^model\.family must be one of glow, hierarchy, not 'toy'"):
        schema.config_from_plain({"model": {"family": "toy"}})
