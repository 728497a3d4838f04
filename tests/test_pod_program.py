"""The training step as compiled for a pod that is not here: it sends gradients, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pod_config
import pytest

from hcflow_jax import models

ROOT = Path(__file__).parents[1]


@pytest.mark.full
def test_256_chips_average_gradients_and_gather_nothing(tmp_path):
    out = tmp_path / "out.json"
    given = ["--target=v5e:16x16", f"--config={pod_config.__file__}", "--batch=4", f"--out={out}"]
    # The first call fetches the compiler, into the user's cache.
    command = [sys.executable, "-m", "benchmarks.compile_for", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text())
    assert found["devices"] == 256 and found["other_collectives"] == 0
    # All-reduces of all that learns in float32, but for what has no effect, and of a loss by level beside it.
    learns = 4e-6 * sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(models.build(_config()).shapes()))
    assert found["all_reduces"]["number"] >= 1
    assert 0.98 * learns <= found["all_reduces"]["megabytes"] <= learns + 1e-3


def _config():
    config = pod_config.get_config()
    config.train.batch_size = 1024
    return config
