"""The report's sheets, with a model that only says what it was given."""

from types import SimpleNamespace

import numpy as np

from hcflow_jax.cli.report_sheets import SHOWN, Report


def test_zeroing_takes_the_finest_level_first():
    names, seen = ("prior", "y1", "8", "32"), []
    pictures = np.zeros((SHOWN, 8, 8, 3), np.uint8)

    def decode(params, z):
        seen.append({name for name, values in z.items() if values.any()})
        return pictures

    report = Report.__new__(Report)
    report.model, report.params, report.images, report.scale = SimpleNamespace(level_names=names), None, pictures, 1
    report.sampler = SimpleNamespace(decode=decode, to_uint8=lambda x: x)  # pyright: ignore[reportAttributeAccessIssue]
    report._zeroing({name: np.ones((SHOWN, 2)) for name in sorted(names)})  # as jit hands a dict back
    assert seen == [{"prior", "y1", "8"}, {"prior", "y1"}, {"prior"}, set()]
