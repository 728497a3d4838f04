"""The references of `hcflow compare` that are made of the study's runs."""

import dataclasses
import json
from pathlib import Path

import compare_runs
import pytest

from benchmarks.study import references, runs
from benchmarks.study.plan import Run
from hcflow_jax.analysis import comparable, histories
from hcflow_jax.config import presets


def test_a_reference_has_all_seeds_of_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = (("data.train_images", 24), ("data.eval_images", 8), ("eval.images", 8))
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(references.histories, "REFERENCES", tmp_path)
    monkeypatch.setattr(references, "RUNS", [Run("portraits_a", seed, overrides=few) for seed in (0, 1)])
    with pytest.raises(SystemExit, match="portraits_a-0: is not finished"):
        references.make("portraits")
    for run in references.RUNS:
        rows = compare_runs.rows(3_600, seed=run.seed, noise=0.01, evals=(3_600,))
        runs.keep(run, training={"diverged": None, "versions": {"jax": "0"}, "history": [runs.kept(r) for r in rows]})
    made = histories.from_plain(json.loads(references.make("portraits").read_text()))
    assert [(seed.seed, seed.last_step, seed.about) for seed in made.seeds] == [
        (seed, 3_600, {"versions": {"jax": "0"}}) for seed in (0, 1)
    ]
    assert made.images is not None and made.images["count"] == 24
    config = presets.config("study:portraits_a")
    config.update_from_flattened_dict(dict(few))
    assert comparable.differences(dataclasses.replace(made, config=config), made) == {}
    assert " --config=configs/study.py:portraits_a --config.seed=SEED " in made.about["command"]
