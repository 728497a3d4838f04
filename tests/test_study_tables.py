"""The tables, curves and sheets of the study's page, made of a few known numbers."""

from typing import Any

import pytest

from benchmarks.study import curves, plan, recipes, runs, sheets, tables
from benchmarks.study.plan import Run
from hcflow_jax.config import presets

STUDY = presets.load("study")


@pytest.fixture
def results(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty folder for the results; a run is finished once it has distances."""
    monkeypatch.setattr(runs, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runs, "_STAGES", {"distances": lambda run: True})
    return runs.RESULTS


def _measured(bits: float | None, frechet: float) -> dict[str, Any]:
    history = [{"step": 0, "kind": "eval", "bits_per_dim": 9.0}, {"step": 8, "kind": "eval", "bits_per_dim": bits}]
    own = {"frechet_toon-head": frechet}
    dear = {"frechet_efficientnet-lite0": 30.0, "kid": 0.5, "precision": 0.25, "recall": 0.75}
    return {
        "training": {"diverged": None, "history": history},
        "parameters": 1_487_269,
        "sampling": {"images_per_second": 64.4},
        "distances": {
            "toon-head": own | {"attributes": {"mean": 0.125}},
            "efficientnet-lite0": dear,
        },
    }


def test_a_table_has_means_and_spreads_of_what_is_done(results: Any) -> None:
    runs.keep(Run("portraits_a", 0), **_measured(4.5, 10.0))
    runs.keep(Run("portraits_a", 1), **_measured(4.75, 12.0))
    runs.keep(Run("portraits_b"), **_measured(None, 14.0))
    runs.keep(Run("portraits_c"), training={"diverged": "20 steps in a row were skipped", "history": []})
    head, _, a, b, c = tables.table("portraits", "abcd").splitlines()
    steps = {model: f"{STUDY.STEPS[model]:,}" for model in "abc"}
    cells = "4.625 (4.500 to 4.750) | 11.00 (10.00 to 12.00) | 30.0 (30.0 to 30.0)"
    assert a.startswith(f"| a | 2 of 3 | {steps['a']} | 1,487,269 | {cells} |") and a.count("|") == head.count("|")
    assert b.startswith(f"| b | 1 | {steps['b']} | 1,487,269 | - | 14.00 | 30.0 | 0.500 | 0.250 | 0.750 | 0.125 |")
    assert c.startswith(f"| c | 1, 1 diverged | {steps['c']} | - | - |") and c.count("|") == head.count("|")
    tuned = {"tuned": {"sigma": {"8": 0.5}, **{k: v for k, v in _measured(4.5, 6.0).items() if k != "training"}}}
    runs.keep(Run("portraits_a", 0), **tuned)
    assert tables.table("portraits", "a").splitlines()[2] == a
    again = tables.table("portraits", "a", tuned=True).splitlines()[3]
    assert again.startswith(f"| a, tuned | 1 | {steps['a']} | 1,487,269 | 4.500 | 6.00 | 30.0 |")


def test_a_table_ends_with_the_real_images(results: Any) -> None:
    runs.keep(Run("portraits_b"), **_measured(None, 14.0))
    real = _measured(None, 0.25)["distances"]
    tables.keep_reals("portraits", {"0.0": real, "0.005": _measured(None, 0.5)["distances"]})
    tables.keep_reals("landscapes", {"0.0": real})
    head, _, _, plain, noisy = tables.table("portraits", "ab", noises=(0.0, 0.005, 0.025)).splitlines()
    cells = "30.0 | 0.500 | 0.250 | 0.750 | 0.125 |"
    assert plain == f"| real images | - | - | - | - | 0.25 | {cells}" and plain.count("|") == head.count("|")
    assert noisy == f"| real images with noise 0.005 | - | - | - | - | 0.50 | {cells}"
    assert tables.table("landscapes", "ab") == tables.NOTHING


def test_a_small_negative_number_has_no_sign() -> None:
    assert tables.spread([-0.0001], 3) == "0.000" and tables.spread([-0.25, 0.5, -0.0], 2) == "0.08 (-0.25 to 0.50)"


def test_a_table_without_runs_says_so(results: Any) -> None:
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


def test_the_table_of_claims_has_samples_and_reals(results: Any) -> None:
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


def test_curves_are_drawn_of_what_there_is(results: Any, tmp_path: Any) -> None:
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


def test_the_table_of_trials_has_a_row_for_each(results: Any) -> None:
    history = [{"kind": "eval", "step": 8, "bits_per_dim": 5.0504}]
    runs.keep(recipes.trial("a", "x2"), training={"diverged": None, "history": history})
    runs.keep(recipes.trial("glow", "x2"), training={"diverged": "20 steps in a row", "history": []})
    assert tables.recipe_trials().splitlines()[2:] == ["| x2 | 1,100 | 5.050 | 2,413 | diverged |"]
