"""The state of a training run, which goes from one step to the next."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from hcflow_jax.training.optimizer import Optimizer


@flax.struct.dataclass
class TrainState:
    """A pytree of arrays; the same tree before and after the freeze.

    Attributes:
      step: number of finished steps, with skipped ones.
      params: the parameters that learn.
      opt_state: counts and moments by rate group, packed (`groups.Packing`).
      ema: exponential moving average of `params`, which evaluation and sampling use.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: Any
    ema: Any


def create(params: Any, optimizer: Optimizer) -> TrainState:
    """The state at step 0. Its EMA is a copy with its own buffers, because the step donates both."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params),
    )
