"""Workdirs that hold weights alone."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch_model

from hcflow_jax import checkpoint
from hcflow_jax.checkpoint import CheckpointError, Checkpoints


def test_a_checkpoint_is_not_written_over(tmp_path: Path) -> None:
    params, config = {"encoder": {"w": np.ones(3, np.float32)}}, torch_model.config()
    (tmp_path / "out").mkdir()
    checkpoint.save_weights(tmp_path / "out", params, config)
    with pytest.raises(CheckpointError, match="out holds checkpoints, and is not overwritten"):
        checkpoint.save_weights(tmp_path / "out", params, config)
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoint.save_weights(tmp_path / "out" / "checkpoints" / "0" / "seal.json" / "x", params, config)
    assert os.listdir(tmp_path) == ["out"]


def test_weights_alone_are_not_trained_on(tmp_path: Path) -> None:
    params = {"encoder": {"w": np.ones(3, np.float32)}}
    checkpoint.save_weights(tmp_path / "out", params, torch_model.config())
    checkpoints = Checkpoints(tmp_path / "out", 3)
    with pytest.raises(CheckpointError, match=f"contains only weights.* train.init_from={tmp_path / 'out'}$"):
        checkpoints.restore_latest({"step": jnp.int32(0), "params": params, "ema": params})
    checkpoints.close()
    with pytest.raises(CheckpointError, match="has no params: it holds ema"):
        checkpoint.load(tmp_path / "out" / "checkpoints" / "0", ("params",))
