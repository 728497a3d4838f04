"""The report's sheets, with a model that only says what it was given."""

from types import SimpleNamespace

import numpy as np

from hcflow_jax import pictures
from hcflow_jax.cli.report_sheets import SHOWN, Report


def test_zeroing_takes_the_finest_level_first():
    names, seen = ("prior", "y1", "8", "32"), []
    shown = np.zeros((SHOWN, 8, 8, 3), np.uint8)

    def decode(params, z):
        seen.append({name for name, values in z.items() if values.any()})
        return shown

    report = Report.__new__(Report)
    report.model = SimpleNamespace(level_names=names)  # pyright: ignore[reportAttributeAccessIssue]
    report.params, report.images, report.scale = None, shown, 1
    report.sampler = SimpleNamespace(decode=decode, to_uint8=lambda x: x)  # pyright: ignore[reportAttributeAccessIssue]
    report._zeroing({name: np.ones((SHOWN, 2)) for name in sorted(names)})  # as jit hands a dict back
    assert seen == [{"prior", "y1", "8"}, {"prior", "y1"}, {"prior"}, set()]


def test_a_model_without_a_run_has_a_report_without_a_curve(tmp_path, monkeypatch, capsys):
    report = Report.__new__(Report)
    report.workdir = report.folder = tmp_path
    report.images, report.params = np.zeros((SHOWN, 8, 8, 3), np.uint8), None
    report.sampler = SimpleNamespace(decode=lambda _, z: z, to_uint8=lambda x: report.images)  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(Report, "_encode", lambda self, x: x)
    for part in ("_samples", "_reconstructions", "_zeroing"):
        monkeypatch.setattr(Report, part, lambda self, *_: pictures.grid(self.images, 4))
    names = ["samples", "reconstructions", "zeroing"]
    assert [path.stem for path in report.write()] == names
    assert "at step" not in capsys.readouterr().out

    row = '{"kind": "eval", "step": 3, "bits_per_dim": 5.5, "images": 8}\n'
    (tmp_path / "history.jsonl").write_text(row)
    assert [path.stem for path in report.write()] == [*names, "loss"]
    assert "held-out bits/dim at step 3: 5.500 (8 pictures)" in capsys.readouterr().out
