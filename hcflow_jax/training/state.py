"""The state of a training run."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from hcflow_jax.training.groups import Packed
from hcflow_jax.training.optimizer import Optimizer


@flax.struct.dataclass
class TrainState:
    """The state after a step: a pytree of arrays. Its structure is the same before and after the freeze.

    Attributes:
      step: the number of finished steps, including skipped steps.
      params: the parameters, packed (`groups.Packing`). A step can then update them in place. With a tree, XLA copies
        each tensor first, because it cuts all new tensors of a group from one vector.
      opt_state: counts and moments by rate group, packed.
      ema: the exponential moving average of `params`, which evaluation and sampling use, packed.
    """

    step: Int[Array, ""]
    params: Packed
    opt_state: Any
    ema: Packed


def create(params: Any, optimizer: Optimizer) -> TrainState:
    """The state at step 0, for a parameter tree.

    The EMA is a copy with its own buffers, because the training step donates both.
    """
    packed = optimizer.packing.pack(params)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=packed,
        opt_state=optimizer.init(packed),
        ema=jax.tree.map(jnp.copy, packed),
    )
