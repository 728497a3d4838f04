"""Steps that are not finite: nothing of the state changes, their images are written down, too many end the run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import training_fakes as fakes
from PIL import Image

from benchmarks.study.runs import DIVERGED
from hcflow_jax import checkpoint
from hcflow_jax.data.pipeline import train_batches
from hcflow_jax.models import Objective
from hcflow_jax.training import loop
from hcflow_jax.training.skipped import NotFiniteError


def install(setattr_, *, bad=lambda x: jnp.zeros(x.shape[0], bool), gradient_only=False):
    """A model whose loss, or only its gradient, is not finite for images x (B, 8, 8, 3) that are `bad`."""

    class Spoilt(fakes.Model):
        def objective(self, params, x, keys, statistics=None):
            result, which = super().objective(params, x, keys), bad(x)
            if gradient_only:  # the square root of 0: itself finite, its slope not
                zero = jnp.where(which, 0.0, 1.0) * jnp.square(params["flows"]["8"]["b"][0] + 10)
                return Objective(
                    result.loss + jnp.where(which, jnp.sqrt(zero), 0.0), result.bits_per_dim, result.bits_by_level
                )
            spoilt = jnp.where(which, jnp.nan, result.bits_by_level["8"])
            bits = {**result.bits_by_level, "8": spoilt}
            return Objective(result.loss + 0 * spoilt, result.bits_per_dim + 0 * spoilt, bits)

    fakes.install(setattr_, Spoilt)
    return Spoilt()


def white(x):
    return jnp.mean(x, (1, 2, 3)) > 0.4


def rows(directory):
    return [json.loads(line) for line in (directory / "skipped.jsonl").read_text().splitlines()]


def config_of(folder, **train):
    config = fakes.config(folder / "images", eval_every=0, **train)
    config.data.noise_std = 0.0
    return config


def test_the_images_of_a_skipped_batch_are_written_down(tmp_path, monkeypatch):
    config = config_of(tmp_path, num_steps=6)
    Image.new("RGB", (8, 8), "white").save(tmp_path / "images" / "05.png")
    install(monkeypatch.setattr, bad=white)
    loop.train(config, tmp_path / "run")
    with_it = []
    batches = train_batches(config)
    for step in range(1, 7):
        indices = next(batches)["indices"].tolist()
        if 5 in indices:
            with_it.append((step, indices))
    batches.close()
    assert [(row["step"], row["indices"]) for row in rows(tmp_path / "run")] == with_it and with_it
    assert all(row["not_finite"] == ["bits/8", "bits_per_dim", "loss"] for row in rows(tmp_path / "run"))
    # Resumed before it, the step is taken again and the row written again: once in all.
    step = with_it[0][0]
    for saved in (3, 6):
        if saved >= step:
            (tmp_path / "run" / "checkpoints" / str(saved)).rename(tmp_path / f"gone{saved}")
    loop.train(config, tmp_path / "run")
    assert [(row["step"], row["indices"]) for row in rows(tmp_path / "run")] == with_it


def always(x):
    return jnp.ones(x.shape[0], bool)


def test_too_many_in_a_row_end_the_run_unsaved(tmp_path, monkeypatch):
    config = config_of(tmp_path, num_steps=100, checkpoint_every=3, max_skipped=5)
    install(monkeypatch.setattr, bad=always)
    named = r"^5 steps in a row .* step 5: the loss of level 8 went bad first, in step 1; .*skipped\.jsonl"
    with pytest.raises(NotFiniteError, match=named) as error:
        loop.train(config, tmp_path / "run")
    assert "\n" not in str(error.value) and DIVERGED in str(error.value)  # by which the study knows it
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["3"]
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3, 4, 5]
    with pytest.raises(NotFiniteError, match="step 5: the loss of level 8 went bad first, in step 1"):
        loop.train(config, tmp_path / "run")  # how many there were in a row is not forgotten
    config.train.update(dict(max_skipped=0, num_steps=8))
    loop.train(config, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run").step == 8


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_is_said_to_be_that(tmp_path, monkeypatch):
    config = config_of(tmp_path, num_steps=100, checkpoint_every=50, max_skipped=2)
    install(monkeypatch.setattr, bad=always, gradient_only=True)
    with pytest.raises(NotFiniteError, match="every level's loss is finite but the gradient is not, from step 1 on"):
        loop.train(config, tmp_path / "run")
    assert [row["not_finite"] for row in rows(tmp_path / "run")] == [["grad_norm", "grad_norm/flows"]] * 2
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def two_devices(folder: Path, kind: str) -> None:
    """A step on two devices, one image of the second being bad; run in a process that has them."""
    from hcflow_jax.training import state as states
    from hcflow_jax.training import step as steps
    from hcflow_jax.training.optimizer import Optimizer
    from hcflow_jax.training.schedule import schedule
    from hcflow_jax.training.sharding import make_mesh, replicated, spread

    config = config_of(folder, batch_size=8)
    config.data.flip = False
    config.eval.batch_size = 8
    mesh = make_mesh(config, 4)
    assert mesh.size == 2
    model = install(setattr, bad=white, gradient_only=kind == "gradient")
    optimizer = Optimizer.of(model, config)
    plan = schedule(config, 24)
    program = steps.make_train_step(model, optimizer, config, plan, mesh)
    numbers = steps.numbers_of(config, plan, mesh)

    def train_step(state, images):
        return program(state, images, numbers)

    state = states.create(model.create(jax.random.key(0)), optimizer)
    state = jax.device_put(state, replicated(mesh))
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    state, metrics = train_step(state, spread(mesh, images))
    assert int(metrics["skipped"]) == 0
    before = jax.tree.map(lambda leaf: [np.array(part.data) for part in leaf.addressable_shards], state)
    images[6] = 255
    state, metrics = train_step(state, spread(mesh, images))
    after = jax.tree.map(lambda leaf: [np.array(part.data) for part in leaf.addressable_shards], state)
    assert int(metrics["skipped"]) == 1
    assert bool(np.isfinite(metrics["loss"])) == (kind == "gradient")
    assert bool(np.isfinite(metrics["grad_norm"])) == (kind == "loss")
    assert [int(step) for step in after.step] == [2, 2]
    same = jax.tree.map(np.array_equal, before.replace(step=0), after.replace(step=0))
    assert all(jax.tree.leaves(same))
    print("unchanged")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_one_bad_device_skips_the_update_on_both(tmp_path, kind):
    code = f"import pathlib, test_training_skipped as own; own.two_devices(pathlib.Path({str(tmp_path)!r}), {kind!r})"
    here = Path(__file__).parent
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}", "XLA_FLAGS": flags}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0 and run.stdout == "unchanged\n", run.stderr
