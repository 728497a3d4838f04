"""The study's better recipes: what was measured decides them, and the numbers of steps."""

import json

import pytest

from benchmarks.study import recipes, runs, tables
from hcflow_jax.config import presets

STUDY = presets.load("study")


def test_trials_take_the_time_that_was_measured() -> None:
    measured = json.loads((runs.ROOT / "benchmarks" / "results" / "study" / "costs.json").read_text())["trials"]
    expected = {
        recipes.trial(model, name).name: cost for model in recipes.COST for name, cost in recipes.COST[model].items()
    }
    assert set(measured) == set(expected)
    for name, cost in expected.items():
        assert cost == pytest.approx(measured[name]["ratio"], rel=0.01)
    assert recipes.cost("a", "muon-x6") == recipes.cost("a", "muon-x1") > recipes.cost("a", "x6") == 1.0


def test_the_better_recipes_are_the_best_trials() -> None:
    for model, (factor, fields) in STUDY.BETTER.items():
        trials = {name: runs.result(recipes.trial(model, name)).get("training") for name in recipes.TRIALS}
        done = {name: found for name, found in trials.items() if found and not found["diverged"]}
        ends = {name: tables.held_out({"training": found}) or float("inf") for name, found in done.items()}
        assert recipes.TRIALS[min(ends, key=ends.__getitem__)] == (factor, fields)
