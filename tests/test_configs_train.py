"""Every file of `configs/` trains a step, shrunk; those with the same shrunk config share it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shrink import shrink

from hcflow_jax import compiling
from hcflow_jax.config import config_to_plain, presets
from hcflow_jax.training import loop

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = tmp_path_factory.mktemp("configs") / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(images / f"{i:02d}.png")
    return images


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, float]:
    """The losses of the shrunk configs that were trained already, by the config as text."""
    return {}


@pytest.mark.parametrize("name", [variant for name in presets.names() for variant in presets.variants(name)])
def test_a_config_trains_a_step(
    name: str, folder: Path, trained: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop._Run, "occasionally", lambda self, step: None)  # the step alone is compiled
    monkeypatch.setattr(compiling, "_CPU_LEVEL", compiling._CPU_LEVEL_ONCE)  # it runs once
    config = shrink(presets.config(name), folder)
    text = json.dumps(config_to_plain(config), sort_keys=True)
    if text not in trained:
        workdir = folder.with_name(name.replace(":", "_"))
        loop.train(config, workdir)
        rows = [json.loads(line) for line in (workdir / "history.jsonl").read_text().splitlines()]
        (row,) = (row for row in rows if row["kind"] == "train")
        assert row["step"] == 1 and row["skipped"] == 0
        trained[text] = row["loss"]
    assert math.isfinite(trained[text])
