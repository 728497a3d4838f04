"""The study's plan, and that its runs are trained and measured once, in whatever order a machine gives up."""

import json
import types
from typing import Any

import pytest

from benchmarks.study import curves, plan, recipes, runs, sheets, tables
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


def _measured(bits: float | None, frechet: float) -> dict[str, Any]:
    history = [{"step": 0, "kind": "eval", "bits_per_dim": 9.0}, {"step": 8, "kind": "eval", "bits_per_dim": bits}]
    own = {"frechet_toon-head": frechet, "frechet_toon-head_floor": 0.25, "floor_count": 5000}
    dear = {"kid": 0.5, "precision": 0.25, "recall": 0.75, "floor_count": 5000}
    dear |= {"frechet_efficientnet-lite0": 30.0, "frechet_efficientnet-lite0_floor": 1.5}
    return {
        "training": {"diverged": None, "history": history},
        "parameters": 1_487_269,
        "sampling": {"images_per_second": 64.4},
        "distances": {
            "toon-head": own | {"attributes": {"mean": 0.125, "floor": 0.0625}},
            "efficientnet-lite0": dear,
        },
    }


def test_a_table_has_means_and_spreads_of_what_is_done(study: Any) -> None:
    runs.keep(Run("portraits_a", 0), **_measured(4.5, 10.0))
    runs.keep(Run("portraits_a", 1), **_measured(4.75, 12.0))
    runs.keep(Run("portraits_b"), **_measured(None, 14.0))
    runs.keep(Run("portraits_c"), training={"diverged": "20 steps in a row were skipped", "history": []})
    head, _, a, b, c, _, floors = tables.table("portraits", "abcd").splitlines()
    steps = {model: f"{STUDY.STEPS[model]:,}" for model in "abc"}
    cells = "4.625 (4.500 to 4.750) | 11.00 (10.00 to 12.00) | 30.0 (30.0 to 30.0)"
    assert a.startswith(f"| a | 2 of 3 | {steps['a']} | 1,487,269 | {cells} |") and a.count("|") == head.count("|")
    assert b.startswith(f"| b | 1 | {steps['b']} | 1,487,269 | - | 14.00 | 30.0 | 0.500 | 0.250 | 0.750 | 0.125 |")
    assert c.startswith(f"| c | 1, 1 diverged | {steps['c']} | - | - |") and c.count("|") == head.count("|")
    expected = "attributes 0.25 (5,000 each), EfficientNet 1.50 (5,000 each); attribute distance 0.062."
    tuned = {"tuned": {"sigma": {"8": 0.5}, **{k: v for k, v in _measured(4.5, 6.0).items() if k != "training"}}}
    runs.keep(Run("portraits_a", 0), **tuned)
    assert tables.table("portraits", "a").splitlines()[2] == a
    again = tables.table("portraits", "a", tuned=True).splitlines()[3]
    assert again.startswith(f"| a, tuned | 1 | {steps['a']} | 1,487,269 | 4.500 | 6.00 | 30.0 |")
    assert floors == f"Between two halves of the real images: {expected}"


def test_a_table_without_runs_says_so(study: Any) -> None:
    assert {tables.table("landscapes", "ab"), tables.claims(), tables.recipe_trials()} == {tables.NOTHING}
    assert tables.state() == f"**0 of {len(plan.RUNS)} runs are finished so far.**"


def test_a_page_keeps_what_stands_around_its_tables() -> None:
    page = "before\n<!-- costs -->\nold\n<!-- end -->\nafter\n"
    assert tables.fill(page, {"costs": "new"}) == "before\n<!-- costs -->\n\nnew\n\n<!-- end -->\nafter\n"
    assert tables.fill(tables.fill(page, {"costs": "x"}), {"costs": "new"}) == tables.fill(page, {"costs": "new"})
    with pytest.raises(SystemExit, match="no place for other"):
        tables.fill(page, {"other": "new"})


def test_the_page_has_a_place_for_every_table() -> None:
    page = (runs.ROOT / "docs" / "study.md").read_text()
    for name in (
        "state",
        "costs",
        "portraits",
        "landscapes",
        "portraits_better",
        "landscapes_better",
        "claims",
        "ablations",
        "recipes",
        "beyond",
        *tables.PICTURES,
    ):
        assert page.count(f"<!-- {name} -->\n") == 1


def test_the_table_of_claims_has_samples_and_reals(study: Any) -> None:
    def claims(value: float) -> dict[str, Any]:
        lattices = {
            side: {"lattice": {f"period_{p}": {"value": p * factor} for p in (2, 4, 8)}}
            for side, factor in (("samples", value), ("reals", 1.0))
        }
        return {
            "spectrum": lattices,
            "variation": {"ratio_largest_to_smallest": {"value": 6.5}, "evenness": {"value": 0.75}},
            "midpoints": {how: {"ends": 1.0, "midpoints": m} for how, m in (("linear", 4.0), ("spherical", 3.0))},
        }

    for seed, value in enumerate((0.5, 1.0)):
        runs.keep(Run("portraits_a", seed), **_measured(4.5, 10.0), claims=claims(value))
    (row,) = tables.claims().splitlines()[2:]
    samples = "1.50 (1.00 to 2.00), 3.00 (2.00 to 4.00), 6.00 (4.00 to 8.00)"
    assert row.startswith(f"| portraits | a | 2 | {samples} | 2.00 (2.00 to 2.00), ")
    assert row.endswith(
        "| 6.5 (6.5 to 6.5) | 0.75 (0.75 to 0.75) | 1.00 (1.00 to 1.00) | 3.00 (3.00 to 3.00) | 4.00 (4.00 to 4.00) |"
    )


def test_curves_are_drawn_of_what_there_is(study: Any, tmp_path: Any) -> None:
    assert curves.draw(tmp_path) == []
    found = _measured(4.5, 10.0)
    for step in (4, 8):
        row = {"step": step, "kind": "measure", "frechet_toon-head": 90.0 / step, "seconds": 60.0 * step}
        found["training"]["history"].append(row)
    runs.keep(Run("portraits_a"), **found)
    names = ["study_ablations.png", "study_glow.png", "study_better.png"]
    assert [path.name for path in curves.draw(tmp_path)] == names
    assert (tmp_path / "study_glow.png").is_file()


def test_without_models_no_sheet_is_drawn(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sheets, "WEIGHTS", tmp_path / "weights")
    assert sheets.draw(tmp_path, tmp_path) == []


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
    history = [{"kind": "eval", "step": 8, "bits_per_dim": 5.0504}]
    runs.keep(recipes.trial("a", "x2"), training={"diverged": None, "history": history})
    runs.keep(recipes.trial("glow", "x2"), training={"diverged": "20 steps in a row", "history": []})
    assert tables.recipe_trials().splitlines()[2:] == ["| x2 | 1,100 | 5.050 | 2,413 | diverged |"]
