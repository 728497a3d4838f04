"""How the levels of the hierarchy hang together: features from the encoder, conditioning from the coarser levels."""

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
Visit = Callable[[Level, Any], tuple[Array, Array]]


def features(model: "Hierarchy", run: Run, x: Array) -> ByLevel:
    """y by level, coarse to fine, float32, of images x (b, R, R, 3): the encoder's, and 4 * x."""
    finest = IMAGE_SCALE * x.astype(jnp.float32)
    targets, top = run(model.encoder, ("encoder",), finest)
    split = model.level("prior").dims
    y = {"prior": top[:, :split], "y1": top[:, split:]}
    y |= {n: targets[int(n)] for n in model.level_names[2:-1]} | {model.level_names[-1]: finest}
    return {n: value.astype(jnp.float32) for n, value in y.items()}


def walk(model: "Hierarchy", run: Run, visit: Visit, levels: tuple[Level, ...], state: State) -> State:
    """Coarse to fine: each level's conditioning, from what `visit` gave for the levels before it.

    Args:
      model: the model.
      run: applies a network.
      visit: (level, cond) -> the level's y, clean and as the next decoder sees it.
      levels: a run of the levels.
      state: what the levels before them left; {} at the first.

    Returns:
      What the levels after them need.
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
    """A level's conditioning, and the state with what its decoder hands on."""
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
    """Applies a network with its part of the parameters."""

    def run(module: nn.Module, path: tuple[str, ...], *inputs: Any) -> Any:
        own = params
        for name in path:
            own = own[name]
        return module.apply({"params": own}, *inputs)

    return run
