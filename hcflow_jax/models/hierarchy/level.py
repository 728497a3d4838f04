"""One level of the hierarchy: its flow, its decoder and its constants."""

import dataclasses
import math
from typing import Any

from flax import linen as nn
from jax.tree_util import Partial
from jaxtyping import Array

from hcflow_jax.flows import Bijector
from hcflow_jax.models.base import Params
from hcflow_jax.models.results import LevelMap

IMAGE_SCALE = 4.0  # y of the finest level is 4 * image


@dataclasses.dataclass(frozen=True)
class Level:
    """One level: its flow, its decoder and its constants.

    Attributes:
      name: "prior", "y1" or the resolution.
      shape: the shape of y and z, without the batch.
      flow: maps y to z.
      decoder: the network that gives the conditioning of the flow; None for "prior", which is unconditional.
      flow_noise: alpha, the noise on the flow's input in training, in units of sigma(y).
      decoder_noise: alpha', the noise on y as input of the next finer decoder in training, in units of sigma(y).
      weight: w, the factor of the level's bits in the loss.
      prior_std: the standard deviation of z under the prior.
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
        """The number of dimensions of y."""
        return math.prod(self.shape)

    def at(self, params: Params, y: Array, cond: Any) -> LevelMap:
        """The map of the flow, at y.

        Args:
          params: the parameters of the flow, raw or prepared.
          y: (b, *shape).
          cond: the conditioning of the flow.
        """
        forward, inverse = (Partial(way, params, cond=cond) for way in (self.flow.forward, self.flow.inverse))
        return LevelMap(y, forward, inverse)
