"""What `train_step` times: the model's whole programs, from a config, and how the command line changes a config."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import models
from hcflow_jax.interop import settings
from hcflow_jax.models.hierarchy import Hierarchy, noise, objective
from hcflow_jax.training import sharding, state, step
from hcflow_jax.training.optimizer import Optimizer
from hcflow_jax.training.schedule import schedule

WHOLE = ("step", "frozen", "gradient", "sample", "encode", "decode")


def load_config(path: Path) -> ConfigDict:
    """A config file of ours, FILE.py or FILE.py:ARGUMENT, or a settings JSON of the authors'."""
    name, _, argument = str(path).partition(":")
    path = Path(name)
    if path.suffix == ".json":
        return settings.to_config(json.loads(path.read_text()))
    spec = importlib.util.spec_from_file_location("benchmarked_config", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"--config: {path} is neither a .py nor a .json file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(argument) if argument else module.get_config()


def assignments(flag: str, given: list[str]) -> dict[str, Any]:
    """NAME=VALUE by name; true, false and whole numbers as what they are, the rest as text.

    Raises:
      SystemExit: naming the flag, where one has no "=".
    """
    values: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise SystemExit(f"{flag}: {each!r} is not NAME=VALUE")
        plain = value in ("true", "false") or value.removeprefix("-").isdigit()
        values[name] = json.loads(value) if plain else value
    return values


def prepare(config: ConfigDict, what: str) -> tuple[Any, ...]:
    """(jitted function, its arguments ...), one of `WHOLE`.

    step      the training step that `hcflow_jax.main` runs, on uint8 images
    frozen    the same after the encoder's freeze, which leaves it out of the backward pass
    gradient  the loss's gradient alone
    sample    latents drawn as `sample.sigma` says to images, as `training/samples.py` runs it
    encode    images to latents and log-dets
    decode    the way back: latents to the features of every level, and log-dets

    The last three are under prepared parameters.
    """
    model = models.build(config)
    params = jax.tree.map(jnp.asarray, model.create(jax.random.key(config.seed)))
    batch, resolution = config.train.batch_size, config.data.resolution
    images = np.random.default_rng(0).integers(0, 256, (batch, resolution, resolution, 3), dtype=np.uint8)
    if what in ("step", "frozen"):
        chosen = Optimizer.of(model, config)
        mesh = sharding.make_mesh(config, model.batch_unit)
        plan = schedule(config, 1_000_000)
        run = step.make_train_step(model, chosen, config, plan, mesh, frozen=what == "frozen")
        first = jax.device_put(state.create(params, chosen), sharding.replicated(mesh))
        return run, first, images, step.numbers_of(config, plan, mesh)
    x = jnp.asarray(images / 256 - 0.5, jnp.float32)
    if what == "gradient":
        keys = jax.random.split(jax.random.key(1), batch)
        eps = noise.draw(model, keys) if isinstance(model, Hierarchy) else {}

        def loss(params: Any, x: Any) -> Any:
            if isinstance(model, Hierarchy):
                return jnp.mean(objective.objective(model, params, x, eps).loss)
            return jnp.mean(model.objective(params, x, keys).loss)

        return jax.jit(jax.value_and_grad(loss)), params, x
    ready = jax.jit(model.prepare)(params)
    if what == "encode":
        return jax.jit(model.encode), ready, x
    z = model.draw(jax.random.key(1), batch, config.sample.sigma)
    if what == "sample":
        return jax.jit(model.decode), ready, z
    if not isinstance(model, Hierarchy):
        raise SystemExit("--what=decode is of the hierarchy; sample decodes latents of every family")
    return jax.jit(model.generate), ready, z
