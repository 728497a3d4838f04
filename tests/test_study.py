"""The study's plan, and that its runs are trained and measured once, in whatever order a machine gives up."""

import json
import types
from typing import Any

import pytest

from benchmarks.study import plan, recipes, runs
from benchmarks.study.plan import Run
from hcflow_jax.config import presets

STUDY = presets.load("study")


def test_the_plan_names_each_run_once_and_each_has_a_config() -> None:
    names = [run.name for run in plan.RUNS]
    assert len(set(names)) == len(names) and {run.config for run in plan.RUNS} <= set(STUDY.ARGUMENTS)
    seeds = {name: sorted(run.seed for run in plan.RUNS if run.config == name) for name in STUDY.ARGUMENTS}
    assert seeds["portraits_a"] == seeds["portraits_glow"] == [0, 1, 2]
    assert seeds["landscapes_a"] == seeds["landscapes_glow"] == [0, 1]
    assert seeds["portraits_a_better"] == seeds["portraits_glow_better"] == [0, 1, 2]
    assert seeds["landscapes_a_better"] == seeds["landscapes_glow_better"] == [0, 1]
    assert seeds["portraits_e"] == [0, 1, 2] and all(seeds[f"portraits_{letter}"] for letter in "bcdfgh")


def test_all_models_see_the_same_images_and_but_for_better_recipes_the_papers_rates() -> None:
    base = presets.config("study:portraits_a")
    for model in STUDY.MODELS:
        config = presets.config(f"study:portraits_{model}")
        data = config.data.to_dict() | ({"noise_std": base.data.noise_std} if model == "noise" else {})
        assert data == base.data.to_dict()
        for name in ("warmup_steps", "ema_decay", "images_per_epoch", "decay_after", "freeze_epoch"):
            assert config.train[name] == base.train[name]
        if model not in plan.BETTER:
            rates = config.train.learning_rate.to_dict()
            assert rates == ({"all": 5e-3} if model == "glow" else {"encoder": 5e-4, "decoder": 2e-3, "flows": 5e-3})
            assert all(config.train[name] == base.train[name] for name in ("batch_size", "final_decay"))
            assert config.train.optimizer == ("adamax" if model == "glow" else "adam")
        assert config.train.num_steps == STUDY.STEPS[model] and config.train.num_steps % plan.CURVE_POINTS == 0
        assert config.train.measure_every * plan.CURVE_POINTS == config.train.num_steps
    assert presets.config("study:landscapes_glow").data.style == "landscape"


def test_steps_fill_the_time_of_a_as_it_was_measured() -> None:
    measured = json.loads((runs.ROOT / "benchmarks" / "results" / "study" / "costs.json").read_text())["step"]
    assert set(measured) == set(STUDY.RIVALS)
    assert all(STUDY.STEPS[twin] == STUDY.STEPS[model] for twin, model in STUDY.TWINS.items())
    for model, timed in measured.items():
        assert STUDY.STEPS[model] * timed["ratio"] == pytest.approx(STUDY.STEPS["a"], rel=0.01)


def test_a_name_that_no_run_has_is_refused() -> None:
    assert [run.name for run in plan.find(["portraits_b"])] == ["portraits_b-0"] and plan.find([]) == plan.RUNS
    assert [run.seed for run in plan.find(["portraits_a"])] == [0, 1, 2]
    every = {"landscapes_a", "landscapes_glow", "landscapes_a_better", "landscapes_glow_better"}
    assert {run.config for run in plan.find(["landscapes"])} == every
    trials = plan.find(["recipe_glow_x4", "recipe_a_muon-x2-"], recipes.RUNS)
    assert [run.name for run in trials] == ["recipe_glow_x4", "recipe_a_muon-x2-decay0.6", "recipe_a_muon-x2-batch4"]
    with pytest.raises(SystemExit, match="portraits_z: no run begins so; there are portraits_a-0, "):
        plan.find(["portraits_z"])


@pytest.fixture
def study(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What was done, and how training ends: fakes of the training command and of what is measured."""
    found = types.SimpleNamespace(done=[], status=0, last="")
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")

    def command(arguments: list[str], *, cwd: Any, stdout: Any, stderr: Any, check: bool) -> Any:
        workdir = next(a.partition("=")[2] for a in arguments if a.startswith("--workdir="))
        found.done.append(f"train {workdir.rpartition('/')[2]}")
        rows = [
            {
                "step": 20,
                "kind": "train",
                "bits_per_dim": 7.123456789,
                "loss": 1.5,
                "rate/flows": 1.0,
                "seconds": 9.0,
            },
            {"step": 20, "kind": "measure", "kid": 0.123456789, "count": 2000, "seconds": 9.0},
            {"step": 20, "kind": "watch", "condition/32": 3.0},
        ]
        with open(f"{workdir}/history.jsonl", "w") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
        stdout.write(found.last + "\n")
        return types.SimpleNamespace(returncode=found.status)

    def measure(run: Run, workdir: Any, tell: Any) -> dict[str, Any]:
        found.done.append(f"measure {run.name}")
        return {"distances": {"toon-head": {"kid": 1.0}}}

    checkpoint = types.SimpleNamespace(metadata={"versions": {"jax": "0"}})
    monkeypatch.setattr(runs.checkpoint, "load", lambda workdir: checkpoint)
    monkeypatch.setattr(runs.subprocess, "run", command)
    monkeypatch.setattr(runs, "measure", measure)
    found.do = lambda run=None: runs.do(run or Run("portraits_b"), tmp_path / "work", tell=lambda line: None)
    found.folder = tmp_path / "work"
    return found


def test_a_run_is_trained_and_measured_once(study: Any) -> None:
    study.do()
    study.do()
    assert study.done == ["train portraits_b-0", "measure portraits_b-0"]
    known = runs.result(Run("portraits_b"))
    command = "python -m hcflow_jax.main --config=configs/study.py:portraits_b --config.seed=0 --workdir=DIR"
    assert known["training"]["command"] == command and known["training"]["diverged"] is None
    train, measured = known["training"]["history"]
    assert train == {"step": 20, "kind": "train", "seconds": 9.0, "bits_per_dim": 7.1235, "loss": 1.5}
    assert measured == {"step": 20, "kind": "measure", "kid": 0.12346, "count": 2000, "seconds": 9.0}


def test_what_was_trained_is_measured_later(study: Any) -> None:
    run = Run("portraits_b")
    (study.folder / run.name).mkdir(parents=True)
    runs.keep(run, training={"diverged": None, "history": []})
    study.do()
    assert study.done == ["measure portraits_b-0"]


def test_a_run_whose_workdir_is_lost_is_trained_again(study: Any) -> None:
    runs.keep(Run("portraits_b"), training={"diverged": None, "history": []})
    study.do()
    assert study.done == ["train portraits_b-0", "measure portraits_b-0"]


def test_numbers_are_never_of_two_models(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims are missing and the workdir is lost: the distances are of the lost model, so they are measured again."""
    monkeypatch.setattr(runs.claims, "of_workdir", lambda workdir, tell: study.done.append("claims") or {})
    runs.keep(Run("portraits_b"), training={"diverged": None, "history": []}, distances={})
    study.do(Run("portraits_b", claims=True))
    assert study.done == ["train portraits_b-0", "measure portraits_b-0", "claims"]


@pytest.mark.parametrize("killed_while", ["training", "measuring"])
def test_a_repeated_run_that_is_killed_leaves_no_old_numbers(
    study: Any, monkeypatch: pytest.MonkeyPatch, killed_while: str
) -> None:
    def kill(*given: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    run = Run("portraits_b", claims=True)
    old = {"diverged": None, "history": []}
    runs.keep(run, training=old, distances={"old": {}})
    with monkeypatch.context() as patch:
        patch.setattr(runs, "measure", kill)
        if killed_while == "training":
            patch.setattr(runs.subprocess, "run", kill)
        with pytest.raises(KeyboardInterrupt):
            study.do(run)
    assert "distances" not in runs.result(run) and runs.result(run).get("training") != old
    monkeypatch.setattr(runs.claims, "of_workdir", lambda workdir, tell: {})
    study.do(run)
    assert runs.is_finished(run, runs.result(run)) and set(runs.result(run)["distances"]) == {"toon-head"}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"training": null}', '{"training": {}}', '{"a": 1}'])
def test_a_damaged_result_is_named(study: Any, content: str) -> None:
    runs.RESULTS.mkdir()
    (runs.RESULTS / "portraits_b-0.json").write_text(content)
    with pytest.raises(SystemExit, match=r"portraits_b-0\.json: is damaged \(.*\); restore it from git"):
        study.do()
    assert study.done == []


def test_a_run_is_finished_when_all_is_known_that_the_plan_asks_for() -> None:
    run = Run("portraits_b", claims=True)
    training = {"diverged": None, "history": []}
    assert not runs.is_finished(run, {})
    assert not runs.is_finished(run, {"training": training, "distances": {}})
    assert runs.is_finished(run, {"training": training, "distances": {}, "claims": {}})
    assert runs.is_finished(run, {"training": training | {"diverged": "20 steps in a row were skipped"}})


def test_the_results_that_are_kept_are_of_the_plan() -> None:
    for run in (*plan.RUNS, *recipes.RUNS):
        if known := runs.result(run).get("training"):
            expected = ["python", "-m", "hcflow_jax.main", *run.arguments, "--workdir=DIR"]
            assert sorted(known["command"].split()) == sorted(expected), f"{run.name} had another command"
            assert known["diverged"] or known["history"][-1]["step"] == run.resolved().train.num_steps


def test_temperatures_are_tuned_once_where_the_plan_says_so(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def tuned(run: Run, workdir: Any, tell: Any) -> dict[str, Any]:
        study.done.append(f"tune {run.name}")
        return {"sigma": {"8": 0.5}}

    monkeypatch.setattr(runs, "measure_tuned", tuned)
    monkeypatch.setattr(runs.claims, "of_workdir", lambda workdir, tell: study.done.append("claims") or {"x": 1})
    study.do()
    assert "tune portraits_b-0" not in study.done
    study.do(Run("portraits_b", tuned=True))
    study.do(Run("portraits_b", tuned=True))
    assert study.done.count("tune portraits_b-0") == 1 and len(study.done) == 3
    assert runs.result(Run("portraits_b"))["tuned"] == {"sigma": {"8": 0.5}}
    study.do(Run("portraits_b", claims=True))
    assert study.done[-1] == "claims" and runs.result(Run("portraits_b"))["claims"] == {"x": 1}


def test_a_divergence_is_a_result(study: Any) -> None:
    study.status, study.last = 1, f"error: 20 {runs.DIVERGED}, the last of them step 40: ..."
    study.do()
    study.do()
    assert study.done == ["train portraits_b-0"]
    assert runs.result(Run("portraits_b"))["training"]["diverged"].startswith("error: 20 steps in a row")


def test_another_error_ends_the_study_and_is_no_result(study: Any) -> None:
    study.status, study.last = 2, "error: data.path: no such folder"
    with pytest.raises(SystemExit, match=r"portraits_b-0: training ended with status 2: error: data\.path"):
        study.do()
    assert runs.result(Run("portraits_b")) == {}


def test_both_models_have_the_same_trials_and_time(study: Any) -> None:
    names = [run.name for run in recipes.RUNS]
    assert len(set(names)) == len(names) == 2 * len(recipes.TRIALS)
    for name in recipes.TRIALS:
        own, other = (recipes.trial(model, name).resolved() for model in recipes.MODELS)
        assert own.train.batch_size == other.train.batch_size
        cost = recipes.cost("glow", name)
        steps = recipes.BUDGET * STUDY.STEPS["glow"] / STUDY.STEPS["a"]
        assert other.train.num_steps * cost == pytest.approx(steps, rel=0.01)
        cost = recipes.cost("a", name)
        assert own.train.num_steps * cost == pytest.approx(recipes.BUDGET, rel=0.01)
    doubled = recipes.trial("a", "x2").resolved().train.learning_rate.to_dict()
    assert doubled == {"encoder": 1e-3, "decoder": 4e-3, "flows": 1e-2}
    study.do(recipes.trial("a", "x2"))
    assert study.done == ["train recipe_a_x2"]
