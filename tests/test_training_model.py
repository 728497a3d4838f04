"""A run of the paper's model, as small as it gets: the loop and the model agree on everything they share."""

import jax
import numpy as np
import pytest
import training_fakes as fakes

from hcflow_jax import checkpoint
from hcflow_jax import config as schema
from hcflow_jax.models import factory
from hcflow_jax.training import evaluate, loop


@pytest.mark.full
def test_train_resume_evaluate(tmp_path, capsys):
    config = fakes.config(
        tmp_path / "images", num_steps=2, checkpoint_every=2, images_per_epoch=8, freeze_epoch=1
    )
    row = schema.level(
        channels=3, steps=("channel",), hidden=4, condition=2, encoder=4, decoder=4, style=True
    )
    config.model.levels = schema.levels({8: row})
    top = config.model.top
    top.dims, top.style_width, top.style_layers, top.base_masked = 8, 4, 1, (0, 8)
    top.prior.update(dict(dims=2, steps=1, hidden=4))
    top.y1.update(dict(steps=1, hidden=4, condition=2))
    loop.train(config, tmp_path)
    config.train.num_steps = 4  # steps 2 and 3 are of epoch 1: the encoder is frozen
    result = loop.train(config, tmp_path)

    out = capsys.readouterr().out
    assert "resuming at step 2" in out and "with the encoder frozen" in out
    assert result["resumed_from"] == 2
    assert list(result["end"]["by_level"]) == list(factory.build(config).level_names)
    assert result["end"]["bits_per_dim"] < result["start"]["bits_per_dim"]
    assert evaluate.evaluate(tmp_path)["bits_per_dim"] == pytest.approx(
        result["end"]["bits_per_dim"], rel=1e-4
    )

    steps = [checkpoint.load(tmp_path / "checkpoints" / str(n), ("params",)).arrays["params"] for n in (2, 4)]
    for old, new in zip(*(jax.tree.leaves(params["encoder"]) for params in steps), strict=True):
        np.testing.assert_array_equal(old, new)
