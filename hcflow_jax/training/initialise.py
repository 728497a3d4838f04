"""The state at step 0: random parameters with actnorms initialised from images, or the EMA of a trained model."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import UInt8
from ml_collections import ConfigDict

from hcflow_jax import box, checkpoint, likelihood
from hcflow_jax.config import ConfigError
from hcflow_jax.errors import InputError
from hcflow_jax.keys import root_key
from hcflow_jax.models import ImageModel
from hcflow_jax.training import resumption, sharding, state
from hcflow_jax.training.metrics import say
from hcflow_jax.training.optimizer import Optimizer
from hcflow_jax.training.programs import Programs
from hcflow_jax.training.step import INIT_STREAM, sample_keys


def initialise(
    model: ImageModel,
    optimizer: Optimizer,
    config: ConfigDict,
    images: UInt8[np.ndarray, "N R R 3"],
    programs: Programs,
    mesh: Mesh,
) -> state.TrainState:
    """Makes a fresh state on every device, from its own random stream.

    The images are divided over as many devices as get whole batch units, and the compiler adds up the devices'
    statistics. So the state is the same for any number of devices, up to the rounding of sums.

    Args:
      model: the model.
      optimizer: the optimizer of the run.
      config: the whole config.
      images: from `data.pipeline.init_images`; every process has all of them.
      programs: compiles the programs.
      mesh: from `sharding.make_mesh`.
    """

    def streams(seed: Any) -> Any:
        return jax.random.split(jax.random.fold_in(root_key(seed), INIT_STREAM))

    def calibrate(
        params: Any, images: Any, seed: Any
    ) -> Any:  # the seed is an argument, so that another seed uses the same program
        _, images_key = streams(seed)
        data_keys, noise_keys = likelihood.split_keys(sample_keys(images_key, images.shape[0]))
        x = likelihood.dequantised(images, data_keys, config.data, config.data.flip)
        return model.calibrate(params, x, noise_keys)

    everywhere = sharding.replicated(mesh)
    created = sharding.place(everywhere, model.create(streams(config.seed)[0]))
    groups = len(images) // model.batch_unit
    placed = sharding.place(sharding.split(sharding.over(mesh, groups)), images)
    seed = sharding.place(everywhere, np.asarray(config.seed % 2**32, np.uint32))
    jitted = jax.jit(calibrate, out_shardings=everywhere)
    params = programs("the initialisation", jitted, created, placed, seed, once=True)
    return _create(params, optimizer, mesh)


def from_checkpoint(optimizer: Optimizer, config: ConfigDict, mesh: Mesh) -> state.TrainState:
    """Makes a state on every device from a trained model: parameters and EMA are its EMA; the rest is fresh.

    The actnorms keep their learned values.

    Args:
      optimizer: the optimizer of the run.
      config: the whole config; `train.init_from` names the model.
      mesh: from `sharding.make_mesh`.

    Raises:
      ConfigError: the checkpoint cannot be read, or its model differs from that of the config; the message names the
        fields.
    """
    found = find(config)
    placed = sharding.place(sharding.replicated(mesh), found.arrays["ema"])
    say(f"starting from the EMA of {config.train.init_from}, step {found.step}")
    return _create(placed, optimizer, mesh)


def find(config: ConfigDict) -> checkpoint.Checkpoint:
    """Reads the checkpoint that `train.init_from` names; raises as `from_checkpoint` does."""
    path = config.train.init_from
    try:
        found = checkpoint.load(box.find(path))
    except (checkpoint.CheckpointError, InputError) as error:
        raise ConfigError(f"train.init_from: {error}") from error
    others = [change for change in resumption.changes(found.config, config) if change.startswith("model.")]
    if others:
        raise ConfigError(
            f"train.init_from={path}: its model differs from that of this config: {'; '.join(others)}; set it back, "
            "or name another checkpoint"
        )
    return found


def _create(params: Any, optimizer: Optimizer, mesh: Mesh) -> state.TrainState:
    """The state at step 0, on every device.

    It is placed like a restored state, so that a resumed run finds the programs of this one in the cache. Parameters
    become float32, even if 64 bits are enabled and the model makes float64.
    """

    def create(params: Any) -> state.TrainState:
        own = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), params, optimizer.shapes)
        return state.create(own, optimizer)

    return jax.jit(create, out_shardings=sharding.replicated(mesh))(params)
