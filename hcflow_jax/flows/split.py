"""The splits of a coupling: which part of the input it transforms, the last channels or squares of a checkerboard.

The mask `hidden` is 1 on the part that is transformed, and 0 on the part that is visible to the network.
"""

from typing import Any

import jax.numpy as jnp

from hcflow_jax.errors import InputError
from hcflow_jax.flows.annotations import Array
from hcflow_jax.flows.base import bijector, constant


@bijector
class ChannelSplit:
    """The first c - ceil(c/2) channels are visible, the last ceil(c/2) are hidden.

    All steps hide the same channels; the mixing between them changes what is in the channels.

    >>> from hcflow_jax import flows
    >>> flows.ChannelSplit().hidden((1, 5)).tolist()
    [0.0, 0.0, 1.0, 1.0, 1.0]
    """

    def hidden(self, shape: tuple[int, ...]) -> Array:
        """The mask for x of `shape` (batch, ..., c): (c,), float32."""
        channels = shape[-1]
        return (jnp.arange(channels) >= channels - -(-channels // 2)).astype(jnp.float32)

    def place(self, made: Array, shape: tuple[int, ...]) -> Array:
        """The output of a network with x's channels: zeros are added if it has only the hidden channels.

        Args:
          made: the output of a network.
          shape: the shape of x, (batch, ..., c).
        """
        visible = shape[-1] // 2
        if made.ndim != len(shape) or made.shape[-1] != shape[-1] - visible or not visible:
            return made
        return jnp.pad(made, [(0, 0)] * (made.ndim - 1) + [(visible, 0)])


@bijector
class CheckerSplit:
    """A checkerboard of squares with side K.

    A step with an even index hides the squares with even (y//K + x//K); a step with an odd index hides the others.

    >>> from hcflow_jax import flows
    >>> flows.CheckerSplit(1, 0).hidden((1, 2, 2, 3))[..., 0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]

    Attributes:
      square: K, pixels. It may be an array, so that the steps of a `Repeat` can have squares of different sizes.
      index: the index of the step, counted from the latent side; only its parity matters.
    """

    square: Any = constant()  # int or Array; or a placeholder, when JAX unflattens a tree
    index: Any = constant()

    def hidden(self, shape: tuple[int, ...]) -> Array:
        """The mask for x of `shape` (batch, h, w, c): (h, w, 1), float32.

        Raises:
          InputError: `shape` does not have four dimensions.
        """
        if len(shape) != 4:
            raise InputError(f"CheckerSplit: x has shape {tuple(shape)}, but must be (batch, h, w, channels)")
        rows, columns = (jnp.arange(n) // self.square for n in shape[1:3])
        odd = (rows[:, None] + columns[None, :] + self.index) % 2
        return (1 - odd)[..., None].astype(jnp.float32)

    def place(self, made: Array, shape: tuple[int, ...]) -> Array:
        """The output of a network, unchanged: it has all channels of x."""
        del shape
        return made


Split = ChannelSplit | CheckerSplit
