"""PyTorch reads the `.pt` files that we write."""
# pyright: reportMissingImports=false

from pathlib import Path

import golden_model
import numpy as np
import pytest
import torch
from test_export_torch import assert_same

from hcflow_jax import checkpoint
from hcflow_jax.interop import export_torch, torch_zip

pytestmark = pytest.mark.full


def test_a_whole_model(tmp_path: Path) -> None:
    checkpoint.save_weights(tmp_path / "run", golden_model.params(), golden_model.config())
    file = tmp_path / "x.pt"
    assert export_torch.main([str(tmp_path / "run"), "--out", str(file)]) == 0
    found = torch.load(file, weights_only=True)
    assert all(type(tensor) is torch.Tensor and tensor.is_contiguous() for tensor in found.values())
    assert_same({name: tensor.numpy() for name, tensor in found.items()})


def test_arrays_of_any_shape(tmp_path: Path) -> None:
    flat = {"\u00e9": np.zeros((0, 3), np.float32), "one": np.float32(2.5).reshape(()), "a.b": np.ones(70_000, "f4")}
    torch_zip.write(tmp_path / "x.pt", flat)
    found = torch.load(tmp_path / "x.pt", weights_only=True)
    for name, array in flat.items():
        np.testing.assert_array_equal(found[name].numpy(), array)
        assert found[name].shape == array.shape
