"""`hcflow compare`: what it prints, writes and refuses; the picture; and what makes the references."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import compare_runs as runs
import numpy as np
import pytest
from PIL import Image

from benchmarks import reference
from hcflow_jax import config as schema
from hcflow_jax import pictures
from hcflow_jax.analysis import histories
from hcflow_jax.cli import command
from hcflow_jax.pictures import Panel, Series, curves


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """Runs the command in a folder of its own, with a picture of one dot; gives status and lines of both streams."""
    monkeypatch.chdir(tmp_path)
    drawn = []

    def panels(path, rows):
        drawn[:] = rows
        pictures.save_png(path, np.zeros((1, 1, 3), np.uint8))

    monkeypatch.setattr(pictures, "panels", panels)

    def run(*arguments):
        status = command.main(["compare", *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    run.drawn = drawn
    return run


@pytest.fixture
def demo(tmp_path):
    """A workdir of the demo's config and images, whose history is that of the reference's first seed."""
    found = histories.reference("demo")
    points = found.seeds[0].points["train/bits_per_dim"]
    times = dict(zip(points.step, points.seconds, strict=True))

    def value(step):
        return float(np.interp(step, points.step, points.value))

    history = runs.rows(value=value, evals=(1100,))
    for row in history:
        row["seconds"] = float(np.interp(row["step"], [0, *times], [0, *times.values()]))
    return runs.write(tmp_path / "demo_run", history, images=dict(found.images or {}))


def test_a_run_is_held_against_the_reference_of_its_config(compare, demo):
    status, out, err = compare(demo)
    assert (status, err) == (0, [])
    assert out[0] == f"{demo}: step 1,100 of 1,100, 8,800 images, 539 s of training"
    assert out[2] == "reference demo: seeds 0, 1, 2; 1,100 steps of 8 images"
    table = out.index("training bits/dim")
    assert out[table + 1].split() == ["step", "run", "reference", "(3", "seeds)", "tolerance", "verdict"]
    rows = out[table + 2 : out.index("", table)]
    assert len(rows) == 8 and all(row.endswith("on track") for row in rows) and rows[-1].split()[0] == "1,080"
    assert any(line.startswith("speed: 20.0 images/s, 1.23 times demo's 16.2 on cpu") for line in out)
    assert out[-2].startswith("verdict: on track at step 1,100: held-out bits/dim 4.310, demo 4.340 to 4.349 over 3")
    assert out[-1] == "picture: comparison.png" and Path("comparison.png").exists()
    assert "differ" not in "".join(out)


def test_the_picture_has_the_band_by_step_and_by_time(compare, demo):
    compare(demo)
    [[by_step, by_time]] = compare.drawn
    names = ["reference demo, 3 seeds", str(demo), "reference demo, 3 seeds, held out", f"{demo}, held out"]
    for panel in (by_step, by_time):
        shown = [name if len(name) <= 40 else f"...{name[-37:]}" for name in names]
        assert [series.points for series in panel.series] == [False, False, True, True]
        assert panel.series[0].name == names[0] and panel.series[2].name == names[2]
        assert panel.series[1].name == shown[1] and panel.series[3].like == shown[1]
        band = panel.series[0]
        assert (np.asarray(band.low) <= band.ys).all() and (np.asarray(band.ys) <= band.high).all()
        assert panel.series[1].low is None
    assert (by_step.x_label, by_time.x_label) == ("step", "training time [minutes]")
    assert by_step.series[3].xs.tolist() == [1100]  # not the start, which is no training
    np.testing.assert_allclose(by_time.series[0].xs[-1], 539 / 60, rtol=1e-3)  # the fastest seed's clock


def test_a_run_without_held_out_points_has_no_entry_for_them(compare, tmp_path):
    young = runs.write(tmp_path / "young", runs.rows(steps=200))
    compare(young, "--reference", runs.write(tmp_path / "b", runs.rows()))
    [[panel, _]] = compare.drawn
    assert [series.name for series in panel.series if "held out" in series.name] == [panel.series[-1].name]
    assert panel.series[-1].name.startswith("reference ") and panel.top is not None


def test_where_no_config_fits_the_run_is_shown_alone(compare, tmp_path):
    run = runs.write(tmp_path / "run", runs.rows(steps=200), runs.config(train__clip_norm=1.0))
    status, out, err = compare(run, "--out", "a/alone.png")
    assert (status, err) == (0, [])
    assert (
        out[1] == f"no reference has this run's config; give --reference: a run, or {' or '.join(histories.names())}"
    )
    assert "training bits/dim" in out and "held-out bits/dim" in out and "training loss" not in out
    assert "verdict" not in "".join(out) and Path("a/alone.png").exists()


def test_a_reference_of_another_config_is_a_hint(compare, tmp_path):
    run = runs.write(tmp_path / "run", runs.rows(steps=200), runs.config(train__clip_norm=1.0))
    status, out, _ = compare(run, "--reference", "demo")
    assert status == 0
    assert "    train.clip_norm: 1.0 here, 50.0 there" in out
    assert any(line.startswith("    training images: ") for line in out)
    assert [line for line in out if line.startswith("verdict: ")][0].endswith("; a hint, since the configs differ")
    assert out[out.index("held-out bits/dim") + 2].endswith("not there yet")


def test_two_runs_of_ones_own_by_images_seen(compare, tmp_path):
    a = runs.write(tmp_path / "a", runs.rows())
    b = runs.write(tmp_path / "b", runs.rows(shift=0.5), runs.config(train__batch_size=16, seed=1))
    status, out, _ = compare(b, "--reference", a, "--json", "found.json")
    assert status == 0 and "  the batch sizes differ, so the tables go by images seen" in out
    assert any(line.startswith("    train.batch_size: 16 here, 8 there") for line in out)
    found = json.loads(Path("found.json").read_text())
    (one,) = found["comparisons"]
    assert one["axis"] == "images" and one["differences"] == {"train.batch_size": {"run": 16, "reference": 8}}
    assert found["run"] == str(b) and found["step"] == 1100 and one["seeds"] == [0]
    assert one["verdict"]["verdict"].startswith(("behind", "ahead", "on track"))
    assert set(one["tables"]) == {"train/bits_per_dim"}  # held out at 8,800 images, and at 17,600
    [[by_images, _]] = compare.drawn
    assert by_images.x_label == "images seen"
    theirs, ours = (by_images.series[i].xs for i in (0, 1))
    rows = one["tables"]["train/bits_per_dim"]
    at = [row["at"] for row in rows if row["value"] is not None]
    np.testing.assert_allclose(ours[: len(at)], at, atol=0.5)
    assert max(theirs) < 1100 * 8 and max(ours) > 1100 * 15  # the run is drawn beyond the reference's end
    assert one["tables"]["train/bits_per_dim"][0].keys() >= {"at", "value", "low", "high", "tolerance", "verdict"}


def test_several_references_each_have_a_table(compare, tmp_path):
    folders = [runs.write(tmp_path / f"r{i}", runs.rows(), runs.config(seed=i)) for i in range(3)]
    other = runs.write(tmp_path / "other", runs.rows(), runs.config(data__noise_std=0.02))
    status, out, _ = compare(folders[0], "--reference", *folders[1:], other)
    assert status == 0
    assert [line for line in out if line.startswith("reference ")] == [
        f"reference {folders[1]} and 1 more: seeds 1, 2; 1,100 steps of 8 images",
        f"reference {other}: seed 0; 1,100 steps of 8 images",
    ]
    assert f"  bits/dim cannot be compared: data.noise_std is 0.005 here and 0.02 in {other}" in out
    assert "verdict: none, since neither bits/dim nor loss can be compared" in out


def test_a_folder_of_a_references_name_is_written_as_a_path(compare, demo, tmp_path):
    shutil.copytree(demo, tmp_path / "demo")
    assert "reference demo: seeds 0, 1, 2; 1,100 steps of 8 images" in compare(demo, "--reference", "demo")[1]
    assert "reference demo: seed 0; 1,100 steps of 8 images" in compare(demo, "--reference", "./demo")[1]


def test_without_matplotlib_the_table_is_there(compare, demo, monkeypatch):
    monkeypatch.setattr(pictures, "panels", curves.panels)
    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = compare(demo)
    assert status == 0 and out[-1].startswith("verdict: on track")
    assert len(err) == 1 and err[0].startswith("note: no picture: ") and "hcflow_jax[pictures]" in err[0]
    assert not Path("comparison.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("absent", "absent: no such folder; give the workdir of a run"),
        ("empty", "empty: no history.jsonl in it; give the workdir of a run"),
        ("fresh", "no training step is logged yet; a row is written every train.log_every steps"),
        ("run --reference absent", "absent: no reference has this name (demo"),
        ("run --reference empty", "empty: no history.jsonl in it"),
        ("run --reference noisy", "bits/dim cannot be compared: data.noise_std is 0.005 here and 0.02 in noisy"),
        ("early --reference run", "early: has no step in common with run yet, whose first is 30"),
        ("run --out a.jpg", "--out a.jpg: must end in .png"),
        ("run --json a.txt", "--json a.txt: must end in .json"),
        ("ftp://b/run", "is not on this machine's file systems"),
        ("run --reference ftp://b/run", "is not on this machine's file systems"),
    ],
)
def test_mistakes_give_one_line(compare, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    runs.write(tmp_path / "run", runs.rows())
    runs.write(tmp_path / "noisy", runs.rows(), runs.config(data__noise_std=0.02))
    runs.write(tmp_path / "fresh", runs.rows(steps=10))
    runs.write(tmp_path / "early", runs.rows(steps=4, every=2))
    before = sorted(tmp_path.iterdir())
    status, _, err = compare(*arguments.split())
    assert status == 2 and len(err) == 1 and message in err[0]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.full
def test_nothing_is_imported_that_computes(demo, tmp_path):
    code = (
        "import sys; from hcflow_jax.cli import command; status = command.main(sys.argv[1:]);"
        "loaded = {'jax', 'orbax', 'flax', 'tensorstore'} & sys.modules.keys(); assert not loaded, loaded;"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", str(demo)], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_band_is_shaded_and_points_have_a_bar(tmp_path):
    def drawn(low, high, points=False):
        series = Series("a", [0, 1, 2], [1.0, 1.0, 1.0], low, high, points=points)
        pictures.panels(tmp_path / "a.png", [[Panel([series, Series("b", [0, 2], [0.0, 2.0], like="a")], "x", "y")]])
        with Image.open(tmp_path / "a.png") as picture:
            image = np.asarray(picture.convert("RGB")).astype(int)
        blue, orange = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in curves.COLOURS[:2])
        assert image.shape == (600, 960, 3) and not (np.abs(image - orange).max(-1) < 12).any()
        return (np.abs(image - 0.25 * blue - 0.75 * 255).max(-1) < 12).sum()

    bars, shaded = (drawn([0.5] * 3, [1.5] * 3, points) for points in (True, False))
    assert 500 < bars < 20_000 < 50_000 < shaded


def test_a_value_without_end_leaves_the_others_to_be_seen(tmp_path, monkeypatch):
    limits = []
    show = curves._draw
    monkeypatch.setattr(curves, "_draw", lambda axes, *rest: (show(axes, *rest), limits.append(axes.get_ylim())))
    for top in (None, 3.0, 1e9):
        series = Series("a", [0, 1, 2], [1.0, 2.0, 1e8])
        pictures.panels(tmp_path / "a.png", [[Panel([series], "x", "y", top=top)]])
    assert limits[0] == limits[2] and limits[0][1] > 1e8
    assert limits[1] == pytest.approx((0.9, 3.0))


def test_names_of_any_kind_are_in_the_legend(tmp_path, monkeypatch):
    names = ["_run", "a$x^$b", "caf\udce9", "\u753b", "line\nbreak", "caf\u00e9"]
    shown = [" _run", r"a\$x^\$b", r"caf\udce9", r"\u753b", r"line\nbreak", "caf\u00e9"]
    labels = []
    show = curves._draw
    monkeypatch.setattr(
        curves,
        "_draw",
        lambda axes, *rest: (show(axes, *rest), labels.extend(axes.get_legend_handles_labels()[1])),
    )
    pictures.curve(tmp_path / "a.png", {name: ([0, 1], [i, i]) for i, name in enumerate(names)}, "", "x", "y")
    assert labels == shown


def test_panels_stand_side_by_side(tmp_path):
    line = Series("a line", [0, 1], [0.0, 1.0])
    pictures.panels(tmp_path / "a.png", [[Panel([line], "x", "y"), Panel([line], "x", "z")]])
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (1920, 600)


def test_a_reference_is_made_of_seeds_alone(tmp_path, capsys):
    folders = [runs.write(tmp_path / f"r{i}", runs.rows(seed=i, noise=0.05), runs.config(seed=i)) for i in range(2)]
    argv = ["--name", "demo", "--out", str(tmp_path / "made.json"), "--note", "of a test"]
    assert reference.main([*argv, *map(str, folders)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'made.json'}: 2 seeds, 22 windows\n"
    made = histories.from_plain(json.loads((tmp_path / "made.json").read_text()))
    assert [seed.seed for seed in made.seeds] == [0, 1] and made.about["note"] == "of a test"
    assert "configs/demo.py" in made.about["command"]
    assert len(made.seeds[0].points["train/loss"]) == 22 and len(made.seeds[0].points["eval/loss"]) == 2
    raw, points = histories.read_run(folders[1]).seeds[0].points, made.seeds[1].points["train/bits_per_dim"]
    first = raw["train/bits_per_dim"].value[:2].mean()
    assert points.value[0] == pytest.approx(first, abs=1e-4) and points.rows[0] == 2


@pytest.mark.parametrize(
    ("name", "fields", "steps", "message"),
    [
        (
            "demo",
            {"train__clip_norm": 1.0, "seed": 1},
            1100,
            "differs in more than its seed: train.clip_norm: 1.0, 50.0",
        ),
        ("demo", {"seed": 0}, 1100, "two runs have the same seed: 0, 0"),
        ("demo", {"seed": 1}, 500, "is at step 500 of 1100; let it finish"),
        ("mine", {"seed": 1}, 1100, "--command: say what made the runs, since there is no preset 'mine'"),
        ("portraits", {"seed": 1}, 1100, "--command: say what made the runs; they are not of configs/portraits.py"),
    ],
)
def test_other_runs_make_no_reference(tmp_path, capsys, name, fields, steps, message):
    a = runs.write(tmp_path / "a", runs.rows())
    b = runs.write(tmp_path / "b", runs.rows(steps=steps), runs.config(**fields))
    assert reference.main(["--name", name, "--out", str(tmp_path / "made.json"), str(a), str(b)]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "made.json").exists()


def test_a_reference_holds_no_folder(tmp_path):
    config = runs.config(data__path="/home/me/set", eval__weights="/home/me/inception.pth")
    run = histories.read_run(runs.write(tmp_path / "run", runs.rows(), config))
    made = reference.plain(reference.joined("mine", [run], "a command", ""))
    assert "/home/me" not in json.dumps(made)
    assert schema.config_from_plain(made["config"]).data.path == ""
