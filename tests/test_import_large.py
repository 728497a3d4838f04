"""Importing in processes of their own: 2,000 damaged files, a model of configuration A's size, and what follows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import torch_file
import torch_model
from PIL import Image

from configs import celebahq_a
from hcflow_jax import checkpoint, models
from hcflow_jax.interop import arrays
from hcflow_jax.interop.constants import constants, without_effect

pytestmark = pytest.mark.full

ROOT = Path(__file__).resolve().parents[1]
MOST = 2 * 2**30  # bytes of memory


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python process that has the tests' modules within reach."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(("count", "seed"), [(2_000, 0), pytest.param(40_000, 1, marks=pytest.mark.all)])
def test_damaged_files_are_refused_or_read_as_they_are(count: int, seed: int, tmp_path: Path) -> None:
    """The process ends at the first file that makes it fail, wait or take too much memory."""
    done = run("tests/fuzz_import.py", str(count), str(seed), str(tmp_path))
    assert done.returncode == 0, done.stderr[-3_000:]
    said = json.loads(done.stdout.splitlines()[-1])
    results = said["results"]
    assert said["peak"] < MOST
    assert sum(results.values()) == count
    assert sum(n for name, n in results.items() if not name.startswith("anywhere")) >= 0.75 * count
    for outcome in ("refused", "imported"):
        assert sum(n for name, n in results.items() if name.endswith(outcome)) > count / 20, results


def test_a_file_of_configuration_a_takes_little_memory(tmp_path: Path) -> None:
    """77 M parameters, each tensor's first value its number; the rest, zeros, takes no place on the disk."""
    config = celebahq_a.get_config()
    shapes = models.build(config).shapes()
    zero = np.zeros((), np.float32)
    tree = jax.tree.map(lambda leaf: np.broadcast_to(zero, leaf.shape), shapes)
    learnt = arrays.to_torch(tree, config)
    flat = {**learnt, **without_effect(learnt, config), **dict(constants(config))}
    marked = [name for name in learnt if learnt[name].size < 4_096]
    for i, name in enumerate(marked):
        flat[name] = np.full(flat[name].shape, i + 0.5, np.float32)
    file = torch_file.pieces(flat, None).write(tmp_path / "model.bin")
    assert file.stat().st_size > 3 * 4 * 77e6  # with both moments
    given = (f"--out={tmp_path / 'out'}", "--config=configs/celebahq_a.py")
    most = tmp_path / "peak"
    done = run("tests/peak_memory.py", str(most), "hcflow_jax.interop.import_torch", str(file), *given)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert "77,118,712 parameters" in done.stdout
    assert 200 * 2**20 < int(most.read_text()) < MOST
    back = arrays.to_torch(checkpoint.load(tmp_path / "out").arrays["ema"], config)
    for i, name in enumerate(marked):
        np.testing.assert_array_equal(back[name], np.full(flat[name].shape, i + 0.5, np.float32), name)


def test_an_attack_through_the_command(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    call = torch_file.Call(torch_file.Name("posix", "system"), (f"touch {canary}",))
    file = torch_model.file().but(network_object=torch_file.pickled(call)).write(tmp_path / "model.bin")
    done = run("-m", "hcflow_jax.interop.import_torch", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "'posix.system'" in done.stderr
    assert not canary.exists() and not (tmp_path / "out").exists()


def test_an_imported_model_is_evaluated_and_not_trained_on(tmp_path: Path) -> None:
    out, images, given = tmp_path / "out", tmp_path / "images", tmp_path / "given.py"
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(images / f"{i}.png")
    lines = (
        "config = torch_model.config().copy_and_resolve_references()",
        f"config.data.source, config.data.path, config.data.eval_images = 'folder', {str(images)!r}, 4",
        "config.eval.images = config.eval.batch_size = config.train.init_images = config.train.batch_size = 4",
        "return config",
    )
    given.write_text("import torch_model\n\n\ndef get_config():\n" + "".join(f"    {line}\n" for line in lines))
    file = torch_model.file().write(tmp_path / "model.bin")
    done = run("-m", "hcflow_jax.interop.import_torch", str(file), f"--out={out}", f"--config={given}")
    assert done.returncode == 0, done.stderr[-3_000:]
    done = run("-m", "hcflow_jax.main", "--mode=eval", f"--workdir={out}", f"--config={given}")
    assert done.returncode == 0, done.stderr[-3_000:]
    assert json.loads((out / "eval.json").read_text())["step"] == 0
    done = run("-m", "hcflow_jax.main", f"--workdir={out}", f"--config={given}")
    assert done.returncode == 2
    assert "only weights, without a training state to resume from" in done.stderr.splitlines()[-1]
