"""How Glow is computed changes nothing: devices, presets of `execution`, what the backward pass keeps."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import glow_cases as cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from glow_cases import NO_KEYS
from golden_data import assert_close

from hcflow_jax import models

pytestmark = pytest.mark.full


def two_devices() -> None:
    """The first state and a step after it, on two devices and on one; run in a process that has two."""
    from hcflow_jax.devices import in_a_row
    from hcflow_jax.training import initialise, sharding, step
    from hcflow_jax.training.metrics import Clock
    from hcflow_jax.training.optimizer import Optimizer
    from hcflow_jax.training.programs import Programs
    from hcflow_jax.training.schedule import schedule

    config = cases.least(8, steps=1)
    config.train.batch_size = config.eval.batch_size = 4
    model = models.build(config)
    optimizer = Optimizer.of(model, config)
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    images[4:] //= 4  # what the second device sees is darker
    made = []
    for mesh in (sharding.make_mesh(config, model.batch_unit), in_a_row(jax.devices()[:1])):
        state = initialise.initialise(model, optimizer, config, images, Programs(Clock()), mesh)
        first = jax.device_get(state.params)
        plan = schedule(config, 8)
        train_step = step.make_train_step(model, optimizer, config, plan, mesh)
        numbers = step.numbers_of(config, plan, mesh)
        state, metrics = train_step(state, sharding.spread(mesh, images[2:6]), numbers)
        made.append((first, jax.device_get(metrics["loss"]), mesh.size))
    (first, loss, size), (other, other_loss, other_size) = made
    assert (size, other_size) == (2, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5), first, other)
    np.testing.assert_allclose(loss, other_loss, rtol=1e-5)
    print("the same")


def test_two_devices_start_and_learn_as_one() -> None:
    """Each actnorm's statistics are those of all images, not of a device's."""
    here = Path(__file__).parent
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}", "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    code = "import test_glow_training as own; own.two_devices()"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0 and run.stdout.endswith("the same\n"), run.stderr


def loss_and_gradient(**execution: Any) -> Any:
    config = cases.config("affine").copy_and_resolve_references()
    config.execution.update(execution)
    model = models.build(config)

    def loss(params: Any, x: Any) -> Any:
        return jnp.mean(model.objective(params, x, NO_KEYS).loss)

    return jax.jit(jax.value_and_grad(loss))(cases.params("affine"), cases.x("affine"))


@pytest.fixture(scope="module")
def usual() -> Any:
    return loss_and_gradient()


@pytest.mark.parametrize(
    "execution",
    [
        dict(backward="reversible"),
        dict(backward="recompute"),
        dict(preset="gpu", loop="unroll"),
        dict(conv="padded"),
    ],
    ids=lambda e: "-".join(map(str, e.values())),
)
def test_the_loss_and_its_gradient_do_not_change(execution: dict[str, str], usual: Any) -> None:
    loss, gradient = loss_and_gradient(**execution)
    assert float(loss) == pytest.approx(float(usual[0]), abs=1e-5)
    flat, expected = (np.concatenate([np.ravel(a) for a in jax.tree.leaves(g)]) for g in (gradient, usual[1]))
    assert np.linalg.norm(flat - expected) <= 1e-4 * np.linalg.norm(expected)


def test_bfloat16_networks_are_near(usual: Any) -> None:
    loss, gradient = loss_and_gradient(dtype="bfloat16")
    assert_close(loss, usual[0], "loss", relative=0, absolute=0.02)
    flat, expected = (np.concatenate([np.ravel(a) for a in jax.tree.leaves(g)]) for g in (gradient, usual[1]))
    assert np.linalg.norm(flat - expected) <= 0.05 * np.linalg.norm(expected)
