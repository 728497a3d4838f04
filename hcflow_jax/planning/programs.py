"""The programs that users run, as functions and arguments without values, for devices that need not be here."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hcflow_jax import models
from hcflow_jax.training import sharding, state, step
from hcflow_jax.training.optimizer import Optimizer
from hcflow_jax.training.schedule import schedule

MODES = ("train", "frozen", "sample", "encode")
Program = tuple[Any, tuple[Any, ...]]


def whole(config: ConfigDict, mode: str, mesh: Mesh) -> Program:
    """A jitted function and its arguments, which are shapes with shardings.

    Args:
      config: the config; `train.batch_size` is the batch of all devices, in every mode.
      mode: "train": the training step; "frozen": the step after the freeze of the encoder; "sample": latents to
        images; "encode": images to latents.
      mesh: the devices.

    Raises:
      ConfigError: a value of the config is not allowed.
    """
    model = models.build(config)
    shape = (config.train.batch_size, *model.image_shape)
    params = model.shapes()
    if mode in ("train", "frozen"):
        chosen = Optimizer.of(model, config)
        plan = schedule(config, 1_000_000)
        run = step.make_train_step(model, chosen, config, plan, mesh, frozen=mode == "frozen")
        numbers = jax.eval_shape(lambda: step.Numbers(jnp.uint32(0), plan.numbers()))
        abstract = jax.eval_shape(functools.partial(state.create, optimizer=chosen), params)
        return run, (
            placed(abstract, mesh),
            placed(jax.ShapeDtypeStruct(shape, jnp.uint8), mesh, True),
            placed(numbers, mesh),
        )
    ready = placed(jax.eval_shape(model.prepare, params), mesh)
    if mode == "encode":
        return jax.jit(model.encode), (ready, placed(jax.ShapeDtypeStruct(shape, jnp.float32), mesh, True))
    z = jax.eval_shape(lambda key: model.draw(key, shape[0]), jax.random.key(0))
    return jax.jit(model.decode), (ready, placed(z, mesh, True))


def placed(tree: Any, mesh: Mesh, over_batch: bool = False) -> Any:
    """Shapes with their shardings: replicated, or split along the leading axis.

    Args:
      tree: arrays or shapes.
      mesh: the devices.
      over_batch: whether each device has a run of the leading axis.
    """
    where = sharding.split(mesh) if over_batch else sharding.replicated(mesh)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where), tree)
