"""A run of Glow that is killed while it saves goes on as if nothing had happened, its actnorms as they were."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from hcflow_jax import checkpoint

pytestmark = pytest.mark.full

RUN = """
import os, pathlib, signal, sys
import glow_cases as cases
import training_fakes as fakes
from orbax.checkpoint._src.path import atomicity
from hcflow_jax.training import loop
folder, name, killed = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:] == ["killed"]
fakes.config(folder / "images")
config = cases.least(8, steps=1)
config.data.update(dict(source="folder", path=str(folder / "images"), eval_images=4))
config.train.update(dict(batch_size=2, num_steps=6, init_images=4, log_every=1, checkpoint_every=2))
config.eval.update(dict(images=4, batch_size=4))
config.sample.update(dict(count=2))
if killed:
    temporary = atomicity.AtomicRenameTemporaryPath
    finalize = temporary.finalize
    async def end(self, *args, **how):
        if self.get_final().name == "4":
            os.kill(os.getpid(), signal.SIGKILL)
        return await finalize(self, *args, **how)
    temporary.finalize = end
loop.train(config, folder / name)
"""


def _run(folder: Path, *arguments: str) -> int:
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}", "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-c", RUN, str(folder), *arguments], env=environment, timeout=300
    ).returncode


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    assert _run(tmp_path, "whole") == 0
    assert _run(tmp_path, "run", "killed") == -signal.SIGKILL
    assert checkpoint.load(tmp_path / "run").step == 2
    assert _run(tmp_path, "run") == 0
    parts = ("step", "params", "opt_state", "ema")
    whole, resumed = (checkpoint.load(tmp_path / name, parts).arrays for name in ("whole", "run"))
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["resumed_from"] == 2
    first = checkpoint.load(tmp_path / "run" / "checkpoints" / "2").arrays["ema"]
    assert any(
        (np.asarray(a) != np.asarray(b)).any()
        for a, b in zip(*map(jax.tree.leaves, (first, resumed["ema"])), strict=True)
    )
