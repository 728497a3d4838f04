"""The most memory of the `hcflow` command's process, with a real model: the same for few images as for many."""

import subprocess
import sys
from pathlib import Path

import cli_fakes as fakes
import jax
import least_config
import numpy as np
import pytest

from hcflow_jax import checkpoint, models
from hcflow_jax import config as schema

TESTS = Path(__file__).resolve().parent
SIZE, FEW, MANY = 64, 150, 1200
GROWTH = (MANY - FEW) * SIZE**2 * 3  # bytes, if the 8-bit values of all images were kept


def _model(path: Path) -> Path:
    """A weights file of the least model, for larger images."""
    config = least_config.get_config()
    levels = config.model.levels
    with config.unlocked():
        config.model.levels = schema.levels({SIZE: levels["16"], 8: levels["8"]})
        config.data.resolution = SIZE
    fresh = models.build(config).create(jax.random.key(0))
    checkpoint.save_file(path, jax.tree.map(np.asarray, fresh), config, {"step": 0})
    return path


@pytest.mark.all
@pytest.mark.situation("`hcflow sample`, `encode`, `decode` and `reconstruct` of any number of images: memory")
def test_the_process_does_not_grow_with_the_number_of_images(tmp_path):
    model = _model(tmp_path / "model.safetensors")
    paths = fakes.pictures(tmp_path, MANY, (SIZE, SIZE))

    def peak(*arguments: object) -> int:
        file = tmp_path / "peak"
        line = [sys.executable, str(TESTS / "peak_memory.py"), str(file), "hcflow_jax", *map(str, arguments)]
        subprocess.run([*line, "--checkpoint", str(model)], cwd=tmp_path, check=False, capture_output=True)
        return int(file.read_text())

    commands = {
        "sample": lambda n: ("sample", "--count", n, "--each", f"s{n}"),
        "encode": lambda n: ("encode", *paths[:n], "--out", f"{n}.npz"),
        "decode": lambda n: ("decode", f"{n}.npz", "--out", f"d{n}"),
        "reconstruct": lambda n: ("reconstruct", *paths[:n], "--out", f"r{n}.png"),
    }
    for name, arguments in commands.items():
        peak(*arguments(FEW))  # compiles: the next ones read the programs from the cache
        peaks = [peak(*arguments(n)) for n in (FEW, MANY)]
        assert peaks[1] - peaks[0] < GROWTH / 2, (name, peaks)
    assert len(list((tmp_path / f"d{MANY}").iterdir())) == len(list((tmp_path / f"s{MANY}").iterdir())) == MANY
