"""Which part of its input a coupling changes: the last channels, or the squares of a checkerboard.

A split's `hidden` mask is 1 on the part that is transformed and 0 on the part that stays visible.
"""

from typing import Any

import jax.numpy as jnp

from hcflow_jax.errors import InputError
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import bijector, constant


@bijector
class ChannelSplit:
    """Visible: the first c - ceil(c/2) channels; hidden: the last ceil(c/2). The mixing does the rest.

    >>> from hcflow_jax import flows
    >>> flows.ChannelSplit().hidden((1, 5)).tolist()
    [0.0, 0.0, 1.0, 1.0, 1.0]
    """

    def hidden(self, shape: tuple[int, ...]) -> Array:
        """Mask for x of `shape` (batch, ..., c): (c,), float32."""
        channels = shape[-1]
        return (jnp.arange(channels) >= channels - -(-channels // 2)).astype(jnp.float32)

    def place(self, made: Array, shape: tuple[int, ...]) -> Array:
        """Where a network gave the hidden channels alone: the same with zeros for the visible ones."""
        visible = shape[-1] // 2
        if made.ndim != len(shape) or made.shape[-1] != shape[-1] - visible or not visible:
            return made
        return jnp.pad(made, [(0, 0)] * (made.ndim - 1) + [(visible, 0)])


@bijector
class CheckerSplit:
    """Squares of `square` pixels a side; a step with an even index hides those with even (y//K + x//K).

    >>> from hcflow_jax import flows
    >>> flows.CheckerSplit(1, 0).hidden((1, 2, 2, 3))[..., 0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]

    Attributes:
      square: K, pixels; may be an array, so that steps with squares of several sizes are one program.
      index: the index of the step, counted from the latent side; only its parity matters.
    """

    square: Any = constant()  # int or Array; but JAX also rebuilds trees with placeholders in the place of arrays
    index: Any = constant()

    def hidden(self, shape: tuple[int, ...]) -> Array:
        """Mask for x of `shape` (batch, h, w, c): (h, w, 1), float32.

        Raises:
          InputError: where x is no image.
        """
        if len(shape) != 4:
            raise InputError(f"CheckerSplit: x has shape {tuple(shape)}, but must be (batch, h, w, channels)")
        rows, columns = (jnp.arange(n) // self.square for n in shape[1:3])
        odd = (rows[:, None] + columns[None, :] + self.index) % 2
        return (1 - odd)[..., None].astype(jnp.float32)

    def place(self, made: Array, shape: tuple[int, ...]) -> Array:
        """As the network gave it: squares have no channels of their own."""
        del shape
        return made


Split = ChannelSplit | CheckerSplit
