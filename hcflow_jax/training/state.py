"""The state of a training run."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from hcflow_jax.training.optimizer import Optimizer


@flax.struct.dataclass
class TrainState:
    """The state after a step: a pytree of arrays. Its structure is the same before and after the freeze.

    Attributes:
      step: the number of finished steps, including skipped steps.
      params: the parameters.
      opt_state: counts and moments by rate group, packed (`groups.Packing`).
      ema: the exponential moving average of `params`, which evaluation and sampling use.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: Any
    ema: Any


def create(params: Any, optimizer: Optimizer) -> TrainState:
    """The state at step 0. The EMA is a copy with its own buffers, because the training step donates both."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params),
    )
