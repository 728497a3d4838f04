"""EfficientNet-Lite0 against a PyTorch implementation (efficientnet_lite_pytorch 0.1.0, CPU PyTorch 2.13)."""

import importlib.util

import jax
import numpy as np
import pytest
from golden_data import GOLDEN

from hcflow_jax.errors import MissingExtraError
from hcflow_jax.evaluation import efficientnet

IMAGES = np.load(GOLDEN / "features" / "inception.npz")
VECTORS = np.load(GOLDEN / "features" / "efficientnet.npz")


@pytest.mark.parametrize(
    "size", [32, pytest.param(64, marks=pytest.mark.full), pytest.param(256, marks=pytest.mark.full)]
)
def test_features_are_pytorchs(size: int) -> None:
    weights, file = efficientnet.read()
    found = jax.jit(efficientnet.features)(weights, IMAGES[f"images/{size}"])
    wanted = VECTORS[f"features/{size}"]
    assert found.shape == (2, efficientnet.DIMS) and file.is_file()
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="extra eval"):
        efficientnet.read()
