"""The networks of couplings: a convolutional network for channel splits, a U-Net for checkerboard splits.

Their inputs are sqrt(2) * (visible part of x) and the conditioning, if there is one. Their outputs are (s, b), with
as many channels as x. s is computed from the first half of the last hidden channels, b from the second half. s starts
at zero.
"""

import math
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from hcflow_jax.nets.layers import Conv, Dense, Execution, instance_norm, instance_norm_before_doubling
from hcflow_jax.nets.resample import coupling_double, coupling_halve


class ConvConditioner(nn.Module):
    """The network of channel splits: (b, h, w, c) -> s, b. For vectors (b, c), dense layers without instance norm.

    Attributes:
      hidden: h, the number of hidden channels; even.
      execution: how it is computed.
    """

    hidden: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, visible: Array, cond: Array | None = None) -> tuple[Array, Array]:
        """(s, b), each of the shape of `visible`.

        Args:
          visible: x with zeros in the hidden channels, (b, h, w, c) or (b, c).
          cond: the conditioning, (b, h, w, e) or (b, e); or None.
        """
        channels, at_1x1 = visible.shape[-1], visible.ndim == 2

        def layer(
            features: int, name: str, kernel: int = 3, activation: str = "lrelu", zero: bool = False
        ) -> nn.Module:
            if at_1x1:
                return Dense(features, activation, zero=zero, execution=self.execution, name=name)
            return Conv(features, kernel, activation, zero=zero, execution=self.execution, name=name)

        x, join = visible, "tanh"
        if cond is not None:
            own: Array = cond + layer(cond.shape[-1], "cond")(cond)
            x = jnp.concatenate([x.astype(own.dtype), own], -1)
            join = "lrelu" if at_1x1 else "tanh"
        x = layer(channels, "join", activation=join)(x)
        x = x if at_1x1 else instance_norm(x)
        for i in range(2):
            x = layer(self.hidden, f"hidden_{i}")(x)
        for_s, for_b = layer(self.hidden, "hidden_2").halves(x)
        s = layer(channels, "scale", 1, "linear", zero=True)(for_s)
        b = layer(self.hidden // 2, "shift_hidden")(for_b)
        return s, layer(channels, "shift", 1, "linear")(b)


class UNetConditioner(nn.Module):
    """The U-Net of checkerboard splits: (b, h, w, c) -> s, b. Both start at zero.

    Attributes:
      hidden: h, the number of channels of the finest scale; even.
      growth: q; scale i has floor(h q^i) channels.
      scales: n, the number of scales below the finest.
      halvings: t, the number of halvings from one scale to the next.
      execution: how it is computed.
    """

    hidden: int
    growth: float
    scales: int
    halvings: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, visible: Array, cond: Array | None = None) -> tuple[Array, Array]:
        """(s, b), each of the shape of `visible`.

        Args:
          visible: x with zeros in the hidden squares, (b, h, w, c).
          cond: the conditioning, (b, h, w, e); or None.
        """
        conv = partial(Conv, execution=self.execution)
        halve = partial(coupling_halve, times=self.halvings, implementation=self.execution.resample)
        double = partial(coupling_double, times=self.halvings, implementation=self.execution.resample)
        widths = [math.floor(self.hidden * self.growth**i) for i in range(self.scales + 1)]
        channels, resolution = visible.shape[-1], visible.shape[1]

        x = visible
        if cond is not None:
            cond = conv(cond.shape[-1] // 2, 1, "tanh", name="cond")(cond)
            x = jnp.concatenate([x.astype(cond.dtype), cond], -1)
        for name in ("join", "hidden_0", "hidden_1"):
            x = conv(self.hidden, name=name)(x)
        skips = []
        for i in range(self.scales):
            skips.append(x)
            norm, width = instance_norm(halve(x)), widths[i + 1]
            r = conv(width, 1, name=f"down_{i}_b")(conv(width, 1, name=f"down_{i}_a")(norm))
            x = conv(width, 1, "linear", name=f"down_{i}_c")(norm, r)
        x = conv(widths[-1], 1 if resolution // 2**self.scales == 1 else 3, name="bottom")(x)
        for i, skip in enumerate(reversed(skips)):
            # Doubling acts on positions and a 1x1 kernel on channels, so they commute. It is cheaper to apply the
            # kernel first, at the smaller size.
            norm, (wide, narrow) = instance_norm_before_doubling(x, self.halvings), widths[::-1][i : i + 2]
            r = conv(narrow, 1, name=f"up_{i}_b")(conv(wide, 1, name=f"up_{i}_a")((norm, double)))
            x = conv(narrow, 1, "linear", name=f"up_{i}_c")((norm, double), r)
            x = (x + skip) / math.sqrt(2)
        heads = []
        for name, half in zip(("scale", "shift"), conv(self.hidden, name="hidden_2").halves(x), strict=True):
            half = conv(self.hidden // 2, name=f"{name}_hidden")(half)
            heads.append(conv(channels, 1, "linear", zero=True, name=name)(half))
        return heads[0], heads[1]
