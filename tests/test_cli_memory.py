"""The most memory of the process of `hcflow sample`, with a real model: the same for few images as for many."""

import subprocess
import sys
from pathlib import Path

import jax
import least_config
import numpy as np
import pytest

from hcflow_jax import checkpoint, models
from hcflow_jax import config as schema

TESTS = Path(__file__).resolve().parent
SIZE, FEW, MANY = 32, 1600, 40_000  # JAX's and the C library's memory grows for the first thousand
GROWTH = (MANY - FEW) * SIZE**2 * 3  # bytes, if the 8-bit values of all images were kept


def _model(path: Path) -> Path:
    """A weights file of the least model, for larger images."""
    config = least_config.get_config()
    with config.unlocked():
        fine, coarse = config.model.levels.values()
        config.model.levels = schema.levels({SIZE: fine, 8: coarse})
        config.data.resolution = SIZE
    fresh = models.build(config).create(jax.random.key(0))
    checkpoint.save_file(path, jax.tree.map(np.asarray, fresh), config, {"step": 0})
    return path


@pytest.mark.all
@pytest.mark.situation("`hcflow sample`, `encode`, `decode` and `reconstruct` of any number of images: memory")
def test_the_process_does_not_grow_with_the_number_of_images(tmp_path):
    model = _model(tmp_path / "model.safetensors")

    def peak(count: int) -> int:
        file = tmp_path / "peak"
        line = [
            sys.executable,
            str(TESTS / "peak_memory.py"),
            str(file),
            "hcflow_jax",
            "sample",
            "--count",
            str(count),
        ]
        subprocess.run([*line, "--each", f"s{count}", "--checkpoint", str(model)], cwd=tmp_path, capture_output=True)
        assert len(list((tmp_path / f"s{count}").iterdir())) == count
        return int(file.read_text())

    peak(64)  # compiles: the next ones read the programs from the cache
    few, many = peak(FEW), peak(MANY)
    assert many - few < GROWTH / 2, (few, many)
