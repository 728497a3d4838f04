"""One level of the hierarchy: its flow, what conditions it, and its numbers."""

import dataclasses
import math
from typing import Any

from flax import linen as nn
from jax.tree_util import Partial
from jaxtyping import Array

from hcflow_jax.flows import Bijector
from hcflow_jax.models.base import LevelMap, Params

IMAGE_SCALE = 4.0  # y of the finest level is 4 * image


@dataclasses.dataclass(frozen=True)
class Level:
    """One level: its flow, what conditions it, and its numbers.

    Attributes:
      name: "prior", "y1" or the resolution.
      shape: the shape of y, without the batch.
      flow: y -> z.
      decoder: conditions the flow; None at the unconditional "prior".
      flow_noise, decoder_noise: alpha and alpha' of Section 5.
      weight: w, multiplies the level's bits in the loss.
      prior_std: std of z.
    """

    name: str
    shape: tuple[int, ...]
    flow: Bijector
    decoder: nn.Module | None
    flow_noise: float
    decoder_noise: float
    weight: float
    prior_std: float

    @property
    def dims(self) -> int:
        """Number of dimensions of y."""
        return math.prod(self.shape)

    def at(self, params: Params, y: Array, cond: Any) -> LevelMap:
        """The flow, at y.

        Args:
          params: the params of the flow, raw or prepared.
          y: (b, *shape).
          cond: what the decoder gave for the flow.
        """
        forward, inverse = (Partial(way, params, cond=cond) for way in (self.flow.forward, self.flow.inverse))
        return LevelMap(y, forward, inverse)
