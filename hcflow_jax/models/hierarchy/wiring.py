"""How the levels of the hierarchy are connected: features from the encoder, conditioning from the coarser levels."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from hcflow_jax.models.base import ByLevel, Params, State
from hcflow_jax.models.hierarchy.level import IMAGE_SCALE, Level
from hcflow_jax.nets.decoder import mask_channels

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.model import Hierarchy

Run = Callable[..., Any]  # (network, path of its parameters, *inputs) -> its output
Visit = Callable[[Level, Any], tuple[Array, Array]]  # (level, cond) -> its y, and its y for the next decoder


def features(model: "Hierarchy", run: Run, x: Array) -> ByLevel:
    """y by level, coarse to fine, float32: the outputs of the encoder, and 4 * x.

    Args:
      model: the model.
      run: applies a network.
      x: images, (b, R, R, 3).
    """
    finest = IMAGE_SCALE * x.astype(jnp.float32)
    targets, top = run(model.encoder, ("encoder",), finest)
    split = model.level("prior").dims
    y = {"prior": top[:, :split], "y1": top[:, split:]}
    y |= {n: targets[int(n)] for n in model.level_names[2:-1]} | {model.level_names[-1]: finest}
    return {n: value.astype(jnp.float32) for n, value in y.items()}


def walk(model: "Hierarchy", run: Run, visit: Visit, levels: tuple[Level, ...], state: State) -> State:
    """Visits levels from coarse to fine, each with its conditioning, which comes from the levels before it.

    Args:
      model: the model.
      run: applies a network.
      visit: (level, cond) -> y of the level without noise, and y as the input of the next decoder.
      levels: consecutive levels.
      state: the state after the levels before them; {} at the first level.

    Returns:
      The state after the levels.
    """
    for level in levels:
        cond, state = condition(model, run, level, state)
        clean, seen = visit(level, cond)
        if level.name == "prior":
            state = {"prior": clean, "top": seen}
        elif level.name == "y1":
            state = {"top": jnp.concatenate([state["top"], seen], -1)}
        else:
            state = {**state, "seen": seen}
    return state


def condition(model: "Hierarchy", run: Run, level: Level, state: State) -> tuple[Any, State]:
    """The conditioning of a level's flow, and the new state, which includes the skip of the level's decoder.

    Args:
      model: the model.
      run: applies a network.
      level: the level.
      state: the state after the levels before it.
    """
    if level.decoder is None:
        return None, state
    if level.name == "y1":
        return run(level.decoder, ("decoder", "y1"), state["prior"]), state
    if "style" not in state:
        vector = state["top"]
        style = run(model.style, ("style",), mask_channels(vector, model.style_masked))
        state = {"style": style, "seen": run(model.base, ("decoder", "base"), vector), "skip": None}
    cond, skip = run(level.decoder, ("decoder", level.name), state["seen"], state["skip"], state["style"])
    return cond, {**state, "skip": skip}


def runner(params: Params) -> Run:
    """A function that applies a network with its part of the parameters."""

    def run(module: nn.Module, path: tuple[str, ...], *inputs: Any) -> Any:
        own = params
        for name in path:
            own = own[name]
        return module.apply({"params": own}, *inputs)

    return run
