"""Ten steps of the least model there is, over meshes of several sizes: what `test_scale` runs in other processes.

    python tests/scale_runs.py OUT.npz MESH:ACCUMULATE...            meshes over the devices of this process
    python tests/scale_runs.py OUT.npz 2:1 HOST:PORT PROCESS         one mesh over two processes

Process 0 writes, for every mesh: the loss of each step, the first step's gradient, the parameters at the start and at
the end; a vector each. And the names and sizes of the tensors that the last three are made of, in order.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh
from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.compiling import enable_compilation_cache
from hcflow_jax.parameters import path_name
from hcflow_jax.training import distributed, initialise, sharding, step
from hcflow_jax.training.metrics import Clock
from hcflow_jax.training.optimizer import Optimizer
from hcflow_jax.training.programs import Programs
from hcflow_jax.training.schedule import schedule

BATCH, STEPS = 32, 10


def config() -> ConfigDict:
    """One level of 8 pixels."""
    found = schema.default()
    row = schema.level(channels=3, steps=("channel",), hidden=4, condition=2, encoder=4, decoder=4, style=True)
    found.model.levels = schema.levels({8: row})
    top = found.model.top
    top.dims, top.style_width, top.style_layers, top.base_masked = 8, 4, 1, (0, 8)
    top.prior.update(dict(dims=2, steps=1, hidden=4))
    top.y1.update(dict(steps=1, hidden=4, condition=2))
    found.data.resolution = 8
    # Four statistics groups to initialise from: half of eight devices do what the others do.
    found.train.update(dict(batch_size=BATCH, init_images=16, warmup_steps=100))
    return found


def images(seed: int, count: int) -> np.ndarray:
    """Grey ramps with noise."""
    rng = np.random.default_rng(seed)
    ramps = rng.uniform(0, 200, (count, 1, 1, 3)) + np.arange(8)[:, None] * rng.uniform(0, 5, (count, 1, 1, 1))
    return np.clip(ramps + rng.normal(0, 10, (count, 8, 8, 3)), 0, 255).astype(np.uint8)


def run(mesh: Mesh, accumulate: int) -> dict[str, np.ndarray]:
    """Initialises and trains."""
    found = config()
    found.train.accumulate = accumulate
    model: Any = models.build(found)
    optimizer = Optimizer.of(model, found)
    programs = Programs(Clock())
    state = initialise.initialise(model, optimizer, found, images(0, found.train.init_images), programs, mesh)

    unpack = optimizer.packing.unpack

    def vector(packed: Any) -> np.ndarray:
        return np.asarray(ravel_pytree(unpack(sharding.fetch(packed)))[0])

    start = vector(state.params)
    plan = schedule(found, 1000)
    train, numbers = step.make_train_step(model, optimizer, found, plan, mesh), step.numbers_of(found, plan, mesh)
    losses, gradient = [], None
    own = BATCH // jax.process_count()
    for number in range(STEPS):
        batch = images(1 + number, BATCH)[jax.process_index() * own :][:own]
        state, metrics = programs("the step", train, state, sharding.spread(mesh, batch), numbers, once=True)
        losses.append(float(metrics["loss"]))
        if gradient is None:
            # Adam's first moment after one step is the (clipped) gradient, but for a factor.
            moments = {name: group.mu for name, group in state.opt_state.items()}
            gradient = vector(moments) / (1 - found.train.adam_b1)
    assert gradient is not None
    tensors = {path_name(path): leaf.size for path, leaf in jax.tree_util.tree_leaves_with_path(optimizer.shapes)}
    return {
        "losses": np.array(losses),
        "gradient": gradient,
        "start": start,
        "end": vector(state.params),
        "names": np.array(list(tensors)),
        "sizes": np.array(list(tensors.values())),
    }


def main(out: str, *arguments: str) -> None:
    """See the top."""
    runs = [argument for argument in arguments if argument.replace(":", "").isdigit()]
    others = [argument for argument in arguments if argument not in runs]
    enable_compilation_cache()
    if others:
        *runs, process = runs
        distributed.start(others[0], 2, int(process))
    results = {}
    for name in runs:
        size, accumulate = (int(number) for number in name.split(":"))
        mesh = Mesh(np.array(jax.devices()[:size]), (sharding.BATCH,), axis_types=(AxisType.Auto,))
        results |= {f"{name}/{key}": value for key, value in run(mesh, accumulate).items()}
    if jax.process_index() == 0:
        np.savez(Path(out), **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
