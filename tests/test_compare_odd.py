"""`hcflow compare` on runs that went wrong, changed on the way, or were put together by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import compare_runs as runs
import numpy as np
import pytest

from hcflow_jax import pictures
from hcflow_jax.analysis import comparison, curves, histories
from hcflow_jax.analysis.on_track import compare
from hcflow_jax.analysis.points import Points, Run
from hcflow_jax.cli import command
from hcflow_jax.errors import InputError

TRAIN, EVAL = "train/bits_per_dim", "eval/bits_per_dim"
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Run]:
    """Writes a run and reads it."""

    def run(name: str, history: Any = None, made: Any = None, used: tuple[int, int] | None = None) -> Run:
        folder = runs.write(tmp_path / name, runs.rows() if history is None else history, made)
        if used:
            metadata = {"data": runs.IMAGES, "step": used[0], "next_index": used[1]}
            plain = json.loads((folder / "config.json").read_text())
            runs.checkpoint(folder, used[0], plain, metadata)
        return histories.read_run(folder)

    return run


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command in a folder of its own, without a picture; gives status and the lines of both streams."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pictures, "panels", lambda path, rows: None)

    def run(*arguments: object) -> tuple[int, list[str], list[str]]:
        status = command.main(["compare", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    return run


def verdict(run: Run, reference: Run) -> str:
    return comparison.lines(compare(run, reference))[-1]


def lost(after: int, value: float | None) -> list[dict[str, Any]]:
    """A history whose losses have this value after a step."""
    return [row | {"bits_per_dim": value, "loss": value} if row["step"] > after else row for row in runs.rows()]


@pytest.mark.parametrize("value", [None, NAN, INF])
def test_a_run_whose_loss_is_not_finite_is_not_on_track(make: Any, value: float | None) -> None:
    run = make("run", lost(500, value))
    assert run.last_step == 1100 and run.seeds[0].not_finite_since == 520
    assert comparison.about(run).endswith("; its loss is not finite from step 520 on")
    found = compare(run, make("reference"))
    assert comparison.lines(found)[-1].startswith(
        "verdict: not finite from step 520 on; before, on track at step 480: "
    )
    assert comparison.plain(found)["not_finite_since"] == 520
    json.dumps(comparison.plain(found), allow_nan=False)
    rows = compare(make("whole"), run).tables[TRAIN]
    assert 480 <= max(row.at for row in rows) <= 528  # a reference has no value where its loss is not finite


def test_one_row_that_is_not_finite_changes_nothing_but_its_window(make: Any) -> None:
    history = [row | {"bits_per_dim": NAN, "loss": NAN} if row["step"] == 500 else row for row in runs.rows()]
    found = compare(make("run", history), make("reference"))
    assert found.run.seeds[0].not_finite_since is None
    assert {row.verdict for row in found.tables[TRAIN]} == {"on track"}
    assert all(np.isfinite(row.tolerance or 0) for row in found.tables[TRAIN])


def test_a_run_without_any_finite_loss_says_so(make: Any) -> None:
    with pytest.raises(InputError, match="no loss in it is finite; training has diverged from its first steps on"):
        make("run", lost(-1, None))


def test_beyond_the_references_end_there_is_no_verdict_but_what_the_run_has(make: Any) -> None:
    flat = make("reference", runs.rows(value=lambda step: 4.3, evals=()))
    long = make("run", runs.rows(steps=5000, value=lambda step: 4.3 if step <= 1200 else 50.0, evals=(1100,)))
    found = compare(long, flat)
    assert found.beyond and max(row.at for row in found.tables[TRAIN]) <= 1100
    said = comparison.lines(found)[-1]
    assert said.endswith("; now at step 5,000, beyond the reference's end, with training bits/dim 50.000")
    assert not compare(flat, flat).beyond
    assert len(compare(make("longer", runs.rows(steps=40_000, every=200)), flat).run.seeds[0].points[TRAIN]) < 130


def test_a_finished_run_that_was_not_evaluated_is_not_on_its_way(make: Any) -> None:
    found = compare(make("run", runs.rows(evals=())), make("reference"))
    assert EVAL not in found.tables and found.tables[TRAIN][-1].verdict == "on track"
    assert found.reference.last_step == 1100


def test_a_batch_size_that_changed_makes_a_verdict_a_hint(make: Any) -> None:
    changed = make("run", made=runs.config(train__batch_size=16), used=(600, 600 * 8 + 100 * 8))
    assert changed.changed_batch and changed.last_images == 600 * 8 + 100 * 8 + 500 * 16
    found = compare(changed, make("reference"))
    assert found.axis == "step" and found.changed == (changed.name,)
    said = comparison.lines(found)
    assert any(line.startswith(f"  the batch size changed while {changed.name} trained") for line in said)
    assert said[-1].endswith("; a hint, since the configs differ and the batch size changed")
    back = compare(make("back", used=(600, 600 * 8 + 300 * 8)), make("other", used=(600, 600 * 8)))
    assert back.differences == {} and comparison.lines(back)[-1].endswith("; a hint, since the batch size changed")
    assert not make("steady", used=(600, 600 * 8)).changed_batch


def test_larger_batches_make_fewer_steps_of_as_many_images(make: Any) -> None:
    double = make("run", made=runs.config(train__batch_size=16))
    said = comparison.lines(compare(double, make("reference")))
    assert "  after as many images, the run has made 0.5 times as many steps as the reference" in said


def test_evaluations_after_as_many_images_meet_at_any_batch_sizes(make: Any) -> None:
    reference = make("reference", runs.rows(steps=7700, every=100, evals=(7700,)), runs.config(train__batch_size=12))
    run = make("run", runs.rows(steps=3300, every=100, evals=(3300,)), runs.config(train__batch_size=28))
    (row,) = compare(run, reference).tables[EVAL]
    assert (row.at, row.value is None) == (3300 * 28, False)


def test_held_out_values_of_other_images_are_a_hint(make: Any) -> None:
    found = compare(make("run", made=runs.config(eval__draws=8)), make("reference"))
    assert found.differences == {} and found.measured == {"eval.draws": (8, 1)}
    said = comparison.lines(found)
    assert "    eval.draws: 8 here, 1 there" in said and said[-1].endswith("; a hint, since the configs differ")


def test_distances_by_another_network_are_refused(make: Any) -> None:
    def measured(name: str | None, **fields: Any) -> Run:
        row = {"step": 1100, "kind": "measure", "kid": 0.02, "count": 500, "seconds": 440.0}
        row |= {name: 3.0} if name else {}
        return make(f"run_{name}_{len(fields)}", [*runs.rows(), row], runs.config(**fields))

    inception, lite = measured("fid"), measured("frechet_efficientnet-lite0")
    assert "measure/kid of 500" in compare(inception, inception).tables
    (reason,) = compare(inception, lite).refused
    assert reason.startswith("distances cannot be compared: the network of the features is fid here and efficientnet")
    alone = compare(measured(None), measured(None, eval__extractor="inception"))
    assert "eval.extractor is  here and inception in" in alone.refused[0]


def test_of_two_rows_of_a_step_the_last_in_the_file_counts(make: Any) -> None:
    stale = {"step": 1100, "kind": "eval", "bits_per_dim": 9.0, "loss": 6.0, "seconds": 900.0}
    history = [stale, *runs.rows()]
    (row,) = compare(make("run", history), make("reference")).tables[EVAL]
    assert row.verdict == "on track"


def test_a_clock_that_starts_anew_goes_on(make: Any) -> None:
    history = [row | {"seconds": row["seconds"] - 200.0} if row["step"] > 500 else row for row in runs.rows()]
    clock = make("run", history).seeds[0].clock
    assert (np.diff(clock.seconds) > 0).all() and clock.seconds[-1] == pytest.approx(440)


def test_few_rows_have_unknown_noise(make: Any) -> None:
    sparse = make("run", runs.rows(every=500))
    rows = [row for row in compare(sparse, make("reference")).tables[TRAIN] if row.value is not None]
    assert {round(row.tolerance or 0, 3) for row in rows} == {round(2 * np.sqrt(2) * np.hypot(0.05, 0.15), 3)}


def test_lines_that_are_no_rows_are_passed_over(make: Any, tmp_path: Path) -> None:
    folder = Path(make("run").name)
    odd = [{"step": "x"}, {"step": 10**400}, {"seconds": None}, {"images_per_second": "x", "step": 1100}]
    whole = runs.rows()
    more = "".join(json.dumps({**whole[1], **row}) + "\n" for row in odd)
    (folder / "history.jsonl").write_bytes((folder / "history.jsonl").read_bytes() + more.encode() + b"\xff\x00{")
    assert histories.read_run(folder).last_step == 1100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plain: plain["train"].update(batch_size=0), "train.batch_size in its config must be a whole number"),
        (
            lambda plain: plain["train"].update(batch_size="8"),
            "train.batch_size in its config must be a whole number",
        ),
        (lambda plain: plain.update(model="x"), "config.json: is not a config of this package"),
    ],
)
def test_a_broken_config_is_named(make: Any, change: Callable[[dict[str, Any]], object], message: str) -> None:
    file = Path(make("run").name) / "config.json"
    plain = json.loads(file.read_text())
    change(plain)
    file.write_text(json.dumps(plain))
    with pytest.raises(InputError, match=message):
        histories.read_run(file.parent)
    with pytest.raises(InputError, match=r"config.json: a file, not a folder; give the workdir"):
        histories.read_run(file)


def test_windows_of_many_rows_are_means_of_theirs() -> None:
    rng = np.random.default_rng(0)
    steps = np.sort(rng.choice(100_000, 20_000, replace=False)) + 1.0
    points = Points.of([(step, step, rng.normal()) for step in steps])
    edges = tuple(np.linspace(0, 100_000, 5_001).tolist())
    made = points.windowed(edges)
    at = np.searchsorted(edges, steps)
    assert made.rows.sum() == 20_000
    for k in (0, 17, len(made) - 1):
        inside = at == at[np.searchsorted(steps, made.step[k])]
        assert made.value[k] == pytest.approx(points.value[inside].mean()) and made.rows[k] == inside.sum()


def test_a_run_is_no_reference_of_itself(make: Any, say: Any) -> None:
    bad, good = (Path(make(name, runs.rows(shift=shift)).name) for name, shift in (("bad", 1.0), ("good", 0.0)))
    status, out, err = say(bad, "--reference", f"{good}/", good, bad)
    assert (status, err) == (0, [f"note: {bad} is the run itself, so it is no reference"])
    assert f"reference {good}: seed 0; 1,100 steps of 8 images" in out
    assert out[-2].startswith("verdict: behind by 1.00 ")
    status, _, err = say(bad, "--reference", bad.name)
    assert status == 2 and err[-1] == "error: --reference bad: name a reference or another run"
    assert sum(line.startswith("reference demo") for line in say(good, "--reference", "demo", "demo")[1]) == 1


def test_two_long_names_with_one_end_are_both_in_the_legend(make: Any) -> None:
    end = "a_folder_with_a_name_that_is_long_enough/run"
    first, second, short = (make(f"{part}/{end}" if part else "run") for part in ("x", "y", ""))
    titles = comparison._titles([first, second, short])
    assert len(set(titles.values())) == 3 and titles[first.name] == first.name
    assert comparison._titles([first])[first.name] == f"...{first.name[-37:]}"


def test_curves_leave_out_an_evaluation_at_step_0(make: Callable[..., Run]) -> None:
    young, old = make("young", runs.rows(steps=60, evals=(0,))), make("old")
    assert curves.find([young], None) == TRAIN and EVAL not in curves.quantities([young, old])
    (series,) = curves.panels({"young": young}, TRAIN)[0].series
    assert series.xs.tolist() == [20, 40, 60]  # pyright: ignore
    for panel in curves.panels({"young": young}, EVAL):
        assert len(panel.series[0].xs) == 0  # pyright: ignore
