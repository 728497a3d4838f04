"""Other families of models train, evaluate, sample, resume and are used, and no other room knows of them.

One is the toy of this folder, a flow over the pixels in one level; the other is Glow, at the least size.
"""

import ast
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import toy_family
import training_fakes as fakes
from glow_cases import least

from hcflow_jax import api, checkpoint, models
from hcflow_jax import config as schema
from hcflow_jax.config import ConfigError, registry
from hcflow_jax.errors import InputError
from hcflow_jax.training import evaluate, loop

SIZE = fakes.SIZE
LEVELS = {toy_family.NAME: (str(SIZE),), "glow": (str(SIZE // 4), str(SIZE // 2))}


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The family is known to this file's tests alone."""
    schema.register(toy_family.NAME, "toy_family")
    yield
    del registry._modules[toy_family.NAME]


def make_config(family, folder, **train):
    fakes.config(folder)  # makes the pictures
    config = least() if family == "glow" else schema.default(family=family)
    config.data.update(dict(source="folder", path=str(folder), resolution=SIZE, eval_images=4))
    config.train.update(dict(batch_size=2, num_steps=40, init_images=4, log_every=1, checkpoint_every=20))
    config.train.learning_rate.all = 1e-2
    config.train.update(train)
    config.eval.update(dict(images=3, batch_size=3))
    config.sample.update(dict(count=4))
    return config


@pytest.fixture(scope="module", params=[toy_family.NAME, pytest.param("glow", marks=pytest.mark.full)])
def run(request, registered, tmp_path_factory):
    """A run that was stopped half way and resumed, and one that was not."""
    family, folder = request.param, tmp_path_factory.mktemp(request.param)
    whole = loop.train(make_config(family, folder / "images"), folder / "whole")
    loop.train(make_config(family, folder / "images", num_steps=20), folder / "run")
    resumed = loop.train(make_config(family, folder / "images"), folder / "run")
    assert resumed["resumed_from"] == 20
    return folder, whole, resumed


@pytest.fixture
def levels(request, run):
    """The levels of the run's family."""
    return LEVELS[request.node.callspec.params["run"]]


def test_it_learns_and_resumes_as_if_nothing_had_happened(run, levels):
    folder, whole, resumed = run
    assert whole["end"]["bits_per_dim"] < whole["start"]["bits_per_dim"] - 0.02
    assert list(whole["end"]["by_level"]) == list(levels) and list(whole["parameters"]) == ["all"]
    assert resumed["end"] == whole["end"]
    parts = [checkpoint.load(folder / name, ("params", "ema", "opt_state")).arrays for name in ("whole", "run")]
    jax.tree.map(np.testing.assert_array_equal, *parts)


def test_a_run_writes_what_every_run_writes(run, levels):
    folder, _, _ = run
    rows = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    assert {"train", "eval", "watch"} == {row["kind"] for row in rows}
    last = [row for row in rows if row["kind"] == "train"][-1]
    assert {"rate/all", "grad_norm/all", *(f"bits/{level}" for level in levels)} <= last.keys()
    watched = next(row for row in rows if row["kind"] == "watch")
    assert {f"{name}/{level}" for level in levels for name in ("scale_max", "condition")} <= watched.keys()
    assert (folder / "run" / "samples" / "step_000040.png").exists()


def test_it_is_evaluated(run):
    folder, whole, _ = run
    found = evaluate.evaluate(folder / "run")
    assert found["bits_per_dim"] == pytest.approx(whole["end"]["bits_per_dim"], rel=1e-5)


def test_it_is_used_through_the_api(run, levels):
    folder, _, _ = run
    model = api.load(folder / "run")
    assert model.level_names == levels
    images = model.sample(3, seed=1)
    assert images.shape == (3, SIZE, SIZE, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(model.decode(model.encode(images)), images)
    # An exact likelihood: of a single image too, and no other image changes it.
    alone, among = model.bits_per_dim(images[:1])["total"], model.bits_per_dim(images)["total"]
    np.testing.assert_allclose(alone, among[:1], rtol=1e-5)
    latents = model.encode(images)
    with pytest.raises(InputError, match="space"):
        model.interpolate(latents[0], latents[1], 3, space="y_top")


def test_its_weights_are_handed_on(run, tmp_path):
    folder, _, _ = run
    found = checkpoint.load(folder / "run")
    checkpoint.save_file(tmp_path / "own.safetensors", found.arrays["ema"], found.config, {"step": found.step})
    one, other = api.load(tmp_path / "own.safetensors"), api.load(folder / "run")
    np.testing.assert_array_equal(one.sample(2), other.sample(2))


def test_its_own_fields_are_checked():
    config = schema.default(family=toy_family.NAME)
    config.data.resolution, config.model.hidden = SIZE, 3
    with pytest.raises(ConfigError, match="model.hidden must be even, not 3"):
        models.build(config)
    config.model.steps = 0
    with pytest.raises(ConfigError, match="model.steps must be a whole number above 0, not 0"):
        models.build(config)


def code_of(file):
    """A module's code without docstrings and comments."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)


def test_no_room_that_uses_models_names_a_family():
    package = Path(models.__file__).parents[1]
    words = (
        "models.hierarchy",
        "statistics_group",
        "'prior'",
        "'y1'",
        "'encoder'",
        "Hierarchy",
        "toy",
        "glow",
        "Glow",
    )
    for room in ("training", "data", "checkpoint", "evaluation", "api", "analysis", "cli"):
        for file in (package / room).rglob("*.py"):
            drawn = ["'encoder'"] if file.name == "architecture.py" else []  # there it is a kind of box of any family
            code = code_of(file)
            found = [word for word in words if word in code and word not in drawn]
            assert not found, f"{file} names {found}"
