"""Pieces of the training step, as (function, arguments without values), for devices that need not be here."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from benchmarks import level_programs, memory
from hcflow_jax import flows, parameters
from hcflow_jax.models.hierarchy import build
from hcflow_jax.planning.programs import Program, placed


def part(config: ConfigDict, which: str, mesh: Mesh) -> Program:
    """Loss and gradient of one piece of one level, e.g. "coupling:128:checker", "step:32:channel", "decoder:128".

    The gradient is with respect to parameters, input and conditioning. "memory:64:reversible" is a flow of 64 steps
    at 128 px with that way back, and no piece of the config.

    Raises:
      SystemExit: naming what the level has.
    """
    what, _, rest = which.partition(":")
    name, _, kind = rest.partition(":")
    if what == "memory":
        return _memory(config, int(name), kind, mesh)
    model = build.build(config)
    level, batch = model.level(name), config.train.batch_size
    if what == "decoder":
        gradient, (own, *inputs) = level_programs.decoder(model, model.shapes(), name, batch)
        return jax.jit(gradient), (placed(own, mesh), *(placed(each, mesh, True) for each in inputs))
    x = jax.ShapeDtypeStruct((batch, *level.shape), jnp.float32)
    row = config.model.levels[f"r{name}"]
    cond = jax.ShapeDtypeStruct((batch, *level.shape[:2], row.condition), jnp.float32)
    chain: Any = level.flow
    runs = {n.partition("_")[0]: b.inner for n, b in zip(chain.names, chain.bijectors, strict=True)}
    if what not in ("coupling", "step", "steps") or not isinstance(runs.get(kind), flows.Repeat):
        have = [f"{w}:{name}:{k}" for k in runs if k in ("channel", "checker") for w in ("coupling", "step", "steps")]
        raise SystemExit(f"--part: {which!r} is none of {', '.join([*have, f'decoder:{name}'])}")
    repeat = runs[kind]
    bijector = repeat if what == "steps" else repeat.steps[0]
    bijector = bijector.bijectors[bijector.names.index("coupling")] if what == "coupling" else bijector
    params = parameters.unbox(jax.eval_shape(bijector.create, jax.random.key(0), x, cond))

    def loss(params: Any, x: Any, cond: Any) -> Any:
        z, log_det = bijector.forward(params, x, cond)
        return jnp.sum(z * z) - jnp.sum(log_det)

    return _gradient(loss), (placed(params, mesh), placed(x, mesh, True), placed(cond, mesh, True))


def _memory(config: ConfigDict, length: int, backward: str, mesh: Mesh) -> Program:
    """The gradient of `benchmarks.memory` at the size of configuration A's level 128."""
    setting = memory.Setting(config.train.batch_size, 128, 4, 32, 64, config.execution.dtype, "xla")
    function, (params, *inputs) = memory.gradient_program(length, backward, setting)
    return jax.jit(function), (placed(params, mesh), *(placed(each, mesh, True) for each in inputs))


def _gradient(loss: Callable[..., Any]) -> Any:
    return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
