"""Runs held against references: which points are compared, what the verdict is, and what is refused."""

import dataclasses
import json

import compare_runs as runs
import numpy as np
import pytest

from hcflow_jax import config as schema
from hcflow_jax.analysis import bands, comparable, histories, on_track
from hcflow_jax.analysis.on_track import compare
from hcflow_jax.analysis.points import Points
from hcflow_jax.checkpoint import about
from hcflow_jax.errors import InputError

TRAIN, EVAL, FRECHET = "train/bits_per_dim", "eval/bits_per_dim", "measure/frechet_toon-head of 2000"


@pytest.fixture
def make(tmp_path):
    """Writes a run and reads it; the config's fields, its images and the history's options are given."""

    def run(name, made=None, images=None, extra=(), tail="", **options):
        history = sorted([*runs.rows(**options), *extra], key=lambda row: row["step"])
        return histories.read_run(runs.write(tmp_path / name, history, made, images, tail))

    return run


@pytest.fixture
def reference(make):
    """Three seeds, 0.1 bits/dim apart."""
    each = [
        make(
            f"seed{i}", runs.config(seed=i), shift=0.1 * i, noise=0.03, seed=i, extra=[runs.measured(1100, 20.0 + i)]
        )
        for i in range(3)
    ]
    [joined] = comparable.joined(each)
    return joined


def verdicts(comparison, quantity=TRAIN):
    return [row.verdict for row in comparison.tables[quantity]]


def test_a_run_of_the_same_kind_is_on_track(make, reference):
    found = compare(make("run", runs.config(seed=7), shift=0.1, noise=0.03, seed=7), reference)
    assert set(verdicts(found)) == {"on track"} and verdicts(found, EVAL) == ["on track"]
    assert found.differences == {} and found.refused == () and found.axis == "step"
    (row,) = found.tables[EVAL]
    assert (row.at, row.seeds) == (1100, 3)
    assert (row.low, row.median, row.high) == pytest.approx([runs.curve(1100) + d for d in (0, 0.1, 0.2)], abs=1e-9)
    assert row.tolerance == pytest.approx(2 * np.sqrt(4 / 3) * 0.1)  # the seeds' standard deviation is 0.1
    assert found.newest == (EVAL, row)


@pytest.mark.parametrize(("shift", "word"), [(0.8, "behind by 0.6"), (-0.5, "ahead by 0.5")])
def test_a_run_off_the_band_is_behind_or_ahead_by_the_distance_to_it(make, reference, shift, word):
    found = compare(make("run", shift=shift, noise=0.001), reference)
    assert verdicts(found, EVAL) == [f"{word}0"]
    assert all(verdict.startswith(word.split(" by ")[0]) for verdict in verdicts(found)[5:])


def test_where_a_run_is_not_yet_there_is_no_verdict_but_the_aim(make, reference):
    found = compare(make("run", steps=300, shift=0.1), reference)
    rows = found.tables[TRAIN]
    assert [row.verdict for row in rows][-2:] == ["on track", "not there yet"]
    assert rows[-2].at <= 300 and rows[-1].at == 1080 and rows[-1].value is None
    assert [(row.at, row.verdict) for row in found.tables[EVAL]] == [(1100, "not there yet")]
    assert found.newest == (TRAIN, rows[-2])


def test_windows_are_the_same_on_both_sides_whatever_is_logged(make):
    steep = make("steep", every=20, value=lambda step: 10 - step / 200)
    often = make("often", every=4, value=lambda step: 10 - step / 200)
    rows = compare(often, steep).tables[TRAIN]
    assert len(rows) > 15
    for row in rows:  # the means are of other rows, and lie on the same line
        assert row.value == pytest.approx(row.low, abs=0.02)


def test_noise_of_the_mean_widens_the_band(make):
    quiet, loud = make("quiet"), make("loud", noise=0.3)
    [calm], [wild] = ([compare(run, quiet).tables[TRAIN][-1].tolerance] for run in (quiet, loud))
    assert calm == pytest.approx(2 * np.sqrt(2) * 0.05, rel=0.02)
    assert 2 * np.sqrt(2) * np.hypot(0.05, 0.05) < wild < 2 * np.sqrt(2) * np.hypot(0.05, 0.3)
    early = compare(quiet, quiet).tables[TRAIN][0]
    assert early.tolerance == pytest.approx(2 * np.sqrt(2) * 0.15, rel=0.05)


def test_a_run_that_diverges_was_on_track_until_then(make, reference):
    def value(step):
        return runs.curve(step) + 0.1 + (1e8 * (1 + step // 20 % 2) if step > 600 else 0)

    lost = make("run", value=value, noise=0.03)
    rows = [row for row in compare(lost, reference).tables[TRAIN] if row.value is not None]
    assert {row.verdict for row in rows if row.at < 560} == {"on track"}
    assert all(row.verdict.startswith("behind by 1.") for row in rows if row.at > 620)
    assert max(row.tolerance or 0 for row in rows) < 0.7


def test_windows_grow_with_the_step():
    edges = on_track.edges(100_000, 20)
    widths = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == 100_000 and 35 < len(edges) < 55
    assert widths[0] == 40 and widths.max() <= 1.5 * 100_000 / 20
    assert on_track.edges(60, 20) == (0.0, 60.0)
    assert len(on_track.edges(1100, 20)) == 23


def test_a_window_is_the_mean_of_its_rows_and_keeps_its_edges():
    points = Points.of([(10, 1.0, 4.0), (20, 2.0, 2.0), (30, 3.0, 8.0)])
    made = points.windowed((0, 20, 25, 40))
    assert made.step.tolist() == [15, 30] and made.value.tolist() == [3, 8] and made.rows.tolist() == [2, 1]
    again = made.windowed((0, 40))
    assert again.value.tolist() == pytest.approx([14 / 3]) and again.rows.tolist() == [3]


def test_images_seen_are_the_axis_where_batches_differ(make, reference):
    double = make("run", runs.config(train__batch_size=16), value=lambda step: runs.curve(2 * step) + 0.1, steps=550)
    found = compare(double, reference)
    assert found.axis == "images" and found.tables[TRAIN][-1].at == 1080 * 8
    assert set(verdicts(found)) == {"on track"}
    assert found.differences["train.batch_size"] == (16, 8)


def test_a_reference_of_fewer_seeds_later_says_so(make):
    each = [make(f"seed{i}", runs.config(seed=i), steps=steps) for i, steps in enumerate((1100, 500))]
    [joined] = comparable.joined(each)
    rows = compare(make("run"), joined).tables[TRAIN]
    assert rows[0].seeds == 2 and rows[-1].seeds == 1


def test_held_out_points_are_not_joined(make):
    sparse = make("sparse", evals=(0, 500, 1100))
    rows = compare(make("run", evals=(0, 500, 800, 1100)), sparse).tables[EVAL]
    assert [row.at for row in rows] == [500, 1100]


def test_distances_are_compared_at_the_same_sample_count(make, reference):
    run = make("run", extra=[runs.measured(1100, 40.0), runs.measured(1100, 21.0, count=500)])
    found = compare(run, reference)
    (row,) = found.tables[FRECHET]
    assert (row.low, row.high, row.verdict) == (20, 22, "behind by 18.00")
    assert row.tolerance == pytest.approx(2 * np.sqrt(4 / 3) * 1.0)
    names = {name for name in found.tables if name.startswith("measure")}
    assert names == {FRECHET, "measure/kid of 2000"}
    alone = compare(run, dataclasses.replace(reference, seeds=reference.seeds[:1])).tables[FRECHET][0]
    assert alone.tolerance is None and alone.verdict == "" and alone.low == 20


def test_distances_measured_in_another_way_are_refused(make, reference):
    run = make("run", runs.config(sample__sigma=0.9), extra=[runs.measured(1100, 21.0)])
    found = compare(run, reference)
    assert found.refused == (f"distances cannot be compared: sample.sigma is 0.9 here and 0.7 in {reference.name}",)
    assert TRAIN in found.tables and FRECHET not in found.tables
    other = make("other", images={**runs.IMAGES, "identity": "other"}, extra=[runs.measured(1100, 21.0)])
    assert "distances cannot be compared: the training set is" in compare(other, reference).refused[0]
    pixels = [{**runs.IMAGES, "probe": {"pillow": "12.0.0", "pixels": digest}} for digest in ("one", "another")]
    one, another = (make(about["probe"]["pixels"], images=about, extra=[runs.measured(9, 1.0)]) for about in pixels)
    assert "distances cannot be compared: the training set is" in compare(one, another).refused[0]
    assert "training images" in comparable.differences(one, another)


@pytest.mark.parametrize(("field", "value"), [("data__noise_std", 0.01), ("data__bits", 5), ("data__resolution", 64)])
def test_bits_of_other_quantities_are_refused(make, reference, field, value):
    found = compare(make("run", runs.config(**{field: value})), reference)
    assert TRAIN not in found.tables and EVAL not in found.tables and found.newest is None
    assert found.refused[0].startswith(
        f"bits/dim cannot be compared: {field.replace('__', '.')} is {value} here and "
    )


def test_loss_is_compared_within_one_model_alone(make):
    def noiseless(seed, **fields):
        return runs.config(seed=seed, **fields)

    ours, same = (make(f"run{i}", noiseless(i), defined=False) for i in range(2))
    other = make("other", noiseless(2, model__loss="bound"), defined=False)
    found = compare(ours, same)
    assert set(found.tables) == {"train/loss", "eval/loss"} and set(verdicts(found, "eval/loss")) == {"on track"}
    refused = compare(ours, other)
    assert refused.tables == {}
    assert "loss cannot be compared: model.loss is weighted here and bound in" in refused.refused[0]
    assert compare(ours, make("defined")).tables.keys() == {"train/loss", "eval/loss"}


def test_what_may_change_on_resume_is_no_difference(make):
    base = make("a")
    same = runs.config(
        seed=3, data__path="/elsewhere", eval__images=9, train__log_every=10, execution__dtype="float32"
    )
    assert comparable.differences(make("b", same), base) == {}
    other = runs.config(train__clip_norm=1.0, train__num_steps=2000, train__init_from="runs/x")
    assert comparable.differences(make("c", other), base) == {
        "train.clip_norm": (1.0, 50.0),
        "train.init_from": ("runs/x", ""),
        "train.num_steps": (2000, 1100),
    }
    flat = make("d", runs.config(train__final_decay=0.0))
    longer = make("e", runs.config(train__final_decay=0.0, train__num_steps=2000))
    assert comparable.differences(longer, flat) == {}  # without a decay at the end, length changes nothing
    images = make("f", images={"name": "mine", "count": 3, "identity": "other"})
    assert comparable.differences(images, base) == {"training images": ("mine", runs.IMAGES["name"])}


def test_another_family_is_one_difference(make):
    glow = make("glow", schema.default(family="glow"))
    found = comparable.differences(glow, make("run"))
    assert found["model.family"] == ("glow", "hierarchy")
    assert not [
        path for path in found if path.startswith(("model.", "train.learning_rate")) and path != "model.family"
    ]


def test_runs_of_one_config_are_the_seeds_of_a_reference(make):
    a, b, c = make("a"), make("b", runs.config(seed=1)), make("c", runs.config(train__clip_norm=1.0))
    both, alone = comparable.joined([a, b, c])
    assert [seed.seed for seed in both.seeds] == [0, 1] and both.name == f"{a.name} and 1 more"
    assert alone.name == c.name
    shipped = dataclasses.replace(a, name="demo", edges=on_track.edges(1100, 20))
    for order in ([shipped, b], [b, shipped]):
        assert comparable.joined(order) == order


def test_the_clock_of_a_band_is_the_fastest_seeds(make):
    each = [make(f"seed{i}", runs.config(seed=i), seconds=seconds) for i, seconds in enumerate((2.0, 0.5))]
    [joined] = comparable.joined(each)
    found = bands.band(joined, TRAIN)
    np.testing.assert_allclose(found.seconds, 0.5 * found.step, rtol=1e-6)
    assert compare(make("run", seconds=0.25), joined).speed == pytest.approx(2)


def test_a_line_that_is_cut_short_is_passed_over(make):
    whole, cut = make("whole"), make("cut", tail='{"step": 1120, "kind": "train", "bits_per')
    assert cut.last_step == whole.last_step == 1100


def test_the_config_is_the_workdirs_else_the_newest_whole_checkpoints(tmp_path):
    folder = runs.write(tmp_path / "run", runs.rows())
    old = schema.config_to_plain(runs.config(train__clip_norm=1.0))
    runs.checkpoint(folder, 400, old, {"data": {"name": "new", "count": 1, "identity": "new"}})
    (folder / "checkpoints" / "600").mkdir()  # just being written
    found = histories.read_run(folder)
    assert found.config.train.clip_norm == 50 and (found.images or {})["name"] == "new"
    (folder / about.CONFIG).unlink()
    assert histories.read_run(folder).config.train.clip_norm == 1


def test_a_run_without_a_checkpoint_has_its_config_and_fields_for_its_images(tmp_path, make):
    folder = runs.write(tmp_path / "young", runs.rows(steps=100), runs.config(data__style="landscape"))
    for file in sorted((folder / "checkpoints").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    young = histories.read_run(folder)
    assert young.images is None
    assert comparable.differences(young, make("run")) == {"data.style": ("landscape", "toon-head")}
    (folder / about.CONFIG).unlink()
    with pytest.raises(InputError, match="its config is unknown .*wait for its first checkpoint"):
        histories.read_run(folder)


def test_every_reference_of_the_package_is_whole():
    assert "demo" in histories.names()
    for name in histories.names():
        found, file = histories.reference(name), histories.REFERENCES / f"{name}.json"
        assert histories.to_plain(found) == json.loads(file.read_text()) and file.stat().st_size < 100_000
        assert found.name == name and found.last_step == found.config.train.num_steps and found.about["command"]
        itself = compare(dataclasses.replace(found, seeds=found.seeds[:1]), found)
        assert set(verdicts(itself)) == {"on track"} and not itself.differences


def test_the_demos_reference_is_of_todays_demo():
    found = histories.reference("demo")
    today = dataclasses.replace(found, config=runs.config())
    assert comparable.differences(today, found) == {}
    with pytest.raises(KeyError):
        histories.reference("absent")
