"""One level of the hierarchy: its flow, what conditions it, and its numbers."""

import dataclasses
import math

from flax import linen as nn

from hcflow_jax.flows import Bijector

IMAGE_SCALE = 4.0  # y of the finest level is 4 * image


@dataclasses.dataclass(frozen=True)
class Level:
    """One level: its flow, what conditions it, and its numbers.

    Attributes:
      name: "prior", "y1" or the resolution.
      shape: of y, without the batch.
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
