"""Which part of its input a coupling changes: the last channels, or the squares of a checkerboard.

A split's `hidden` mask is 1 on the part that is transformed and 0 on the part that stays visible.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from hcflow_jax.flows.base import bijector, constant


@bijector
class ChannelSplit:
    """Visible: the first c - ceil(c/2) channels; hidden: the last ceil(c/2). The mixing does the rest."""

    def hidden(self, shape: tuple[int, ...]) -> Array:
        """Mask for x of `shape` (batch, ..., c): (c,), float32."""
        channels = shape[-1]
        return (jnp.arange(channels) >= channels - -(-channels // 2)).astype(jnp.float32)


@bijector
class CheckerSplit:
    """Squares of `square` pixels a side; a step with an even index hides those with even (y//K + x//K).

    Attributes:
      square: K, pixels; may be an array, so that steps with squares of several sizes are one program.
      index: of the step, counted from the latent side; only its parity matters.
    """

    square: Any = constant()  # int or Array; but JAX also rebuilds trees with placeholders in the place of arrays
    index: Any = constant()

    def hidden(self, shape: tuple[int, ...]) -> Array:
        """Mask for x of `shape` (batch, h, w, c): (h, w, 1), float32.

        Raises:
          ValueError: where x is no image.
        """
        if len(shape) != 4:
            raise ValueError(f"CheckerSplit: x has shape {tuple(shape)}, but must be (batch, h, w, channels)")
        rows, columns = (jnp.arange(n) // self.square for n in shape[1:3])
        odd = (rows[:, None] + columns[None, :] + self.index) % 2
        return (1 - odd)[..., None].astype(jnp.float32)


Split = ChannelSplit | CheckerSplit
