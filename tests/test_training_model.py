"""A run of the paper's model, as small as it gets: the loop and the model agree on everything they share."""

import json

import pytest
import training_fakes as fakes

from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.cli import report
from hcflow_jax.training import evaluate, loop


@pytest.mark.full
def test_train_resume_evaluate(tmp_path, capsys):
    config = fakes.config(tmp_path / "images", num_steps=2)
    row = schema.level(channels=3, steps=("channel",), hidden=4, condition=2, encoder=4, decoder=4, style=True)
    config.model.levels = schema.levels({8: row})
    top = config.model.top
    top.dims, top.style_width, top.style_layers, top.base_masked = 8, 4, 1, (0, 8)
    top.prior.update(dict(dims=2, steps=1, hidden=4))
    top.y1.update(dict(steps=1, hidden=4, condition=2))
    loop.train(config, tmp_path)
    config.train.num_steps = 4
    result = loop.train(config, tmp_path)

    out = capsys.readouterr().out
    assert "resuming at step 2" in out
    assert result["resumed_from"] == 2
    assert list(result["end"]["by_level"]) == list(models.build(config).level_names)
    assert result["end"]["bits_per_dim"] < result["start"]["bits_per_dim"]
    assert evaluate.evaluate(tmp_path)["bits_per_dim"] == pytest.approx(result["end"]["bits_per_dim"], rel=1e-4)

    assert report.main([f"--workdir={tmp_path}"]) == 0
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert found["worst_error"] < 1e-4 and found["changed_pixel_values"] == 0
    assert sorted(p.name for p in (tmp_path / "report").glob("*.png")) == [
        "loss.png",
        "reconstructions.png",
        "samples.png",
        "zeroing.png",
    ]


def test_a_report_needs_a_checkpoint(tmp_path, capsys):
    assert report.main([f"--workdir={tmp_path}"]) == 2
    assert str(tmp_path) in capsys.readouterr().err
