"""The report's sheets, with a model of plain arithmetic."""

import json
from types import SimpleNamespace
from typing import Any

import cli_fakes as fakes
import numpy as np
import pytest

from hcflow_jax import api, pictures
from hcflow_jax.analysis.report import SHOWN, Report
from hcflow_jax.analysis.zeroing import cumulative_zeroing
from hcflow_jax.errors import MissingExtraError


@pytest.fixture
def report(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (SHOWN, 8, 8, 3)).astype(np.uint8)
    model: Any = fakes.Model()
    model.config = SimpleNamespace(sample=SimpleNamespace(count=4, seed=3, sigma=0.5))
    monkeypatch.setattr(api, "held_out", lambda config, count: images[:count])
    return Report(tmp_path, model)


def test_zeroing_takes_the_finest_level_first():
    model: Any = fakes.Model()
    latents = model.draw(2)
    rows = dict(cumulative_zeroing(model, latents))
    assert list(rows) == ["z_8 = 0", "z_4 = 0 too", "z_y1 = 0 too", "all = 0"]
    np.testing.assert_array_equal(rows["z_4 = 0 too"], model.decode(model.zero(latents, ("4", "8"))))
    assert (rows["z_8 = 0"] != rows["z_4 = 0 too"]).any() and not rows["all = 0"].any()


def test_a_model_without_a_run_has_a_report_without_a_curve(report, tmp_path, capsys):
    names = ["samples", "reconstructions", "zeroing"]
    assert [path.stem for path in report.write()] == names
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert found["changed_pixel_values"] == 0 and found["worst_error"] < 1e-6
    assert ("draw", 3, 3, 0.5) in report.model.calls
    sheet = fakes.read(tmp_path / "report" / "samples.png")
    np.testing.assert_array_equal(sheet[:96:12, :96:12], report.model.sample(1, seed=3, sigma=0.5)[0])
    said = capsys.readouterr().out
    assert "8 held-out pictures: worst error" in said and "0 pixel values changed" in said and "at step" not in said


def test_a_run_has_a_curve_and_its_bound(report, tmp_path, capsys):
    row = '{"kind": "eval", "step": 3, "bits_per_dim": 5.5, "images": 8}\n'
    (tmp_path / "history.jsonl").write_text(row)
    assert [path.stem for path in report.write()] == ["samples", "reconstructions", "zeroing", "loss"]
    assert "held-out bits/dim at step 3: 5.500 (8 pictures)" in capsys.readouterr().out


def test_without_matplotlib_only_the_curve_is_missing(report, tmp_path, capsys, monkeypatch):
    (tmp_path / "history.jsonl").write_text('{"kind": "eval", "step": 3, "bits_per_dim": 5.5, "images": 8}\n')

    def absent(*given, **named):
        raise MissingExtraError("pictures need matplotlib: install the extra")

    monkeypatch.setattr(pictures, "curve", absent)
    assert [path.stem for path in report.write()] == ["samples", "reconstructions", "zeroing"]
    assert capsys.readouterr().err == "note: no curve: pictures need matplotlib: install the extra\n"


def test_the_samples_have_the_tuned_sigma(report, tmp_path, capsys):
    """A sheet that was made before the search is made again."""
    report.write()
    report.model.sigma = {"8": 0.4, "4": 0.6}
    report.model.calls.clear()
    capsys.readouterr()
    Report(tmp_path, report.model).write()
    assert ("draw", 3, 3, {"8": 0.4, "4": 0.6}) in report.model.calls
    assert "samples.png (finished before)" not in capsys.readouterr().out
    report.model.sigma = {"4": 0.6, "8": 0.4}
    Report(tmp_path, report.model).write()
    assert "samples.png (finished before)" in capsys.readouterr().out


def test_lines_of_the_history_that_are_not_complete_are_skipped(report, tmp_path, capsys, monkeypatch):
    row, drawn = '{"kind": "eval", "step": 3, "bits_per_dim": 5.5, "images": 8}\n', []
    (tmp_path / "history.jsonl").write_text(f'[1]\n{{"step": 2}}\n{{"kind": "eval"}}\n{row}{{"kind": "eval", "st')
    monkeypatch.setattr(pictures, "curve", lambda path, series, *_, **__: drawn.append(series["held out"]))
    assert [path.stem for path in report.write()][-1] == "loss" and drawn == [([3], [5.5])]
    assert "held-out bits/dim at step 3: 5.500 (8 pictures)" in capsys.readouterr().out
