"""The networks inside couplings: a plain one for channel splits, a U-Net for checkerboard splits.

Both see sqrt(2) * the visible part and, where there is one, the conditioning, and give (s, b) with as many
channels as x. The first half of the last features makes s, the second half b; s starts at zero.
"""

import math
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from hcflow_jax.nets.layers import Conv, Dense, Execution, instance_norm
from hcflow_jax.nets.resample import coupling_double, coupling_halve, repeat


class ConvConditioner(nn.Module):
    """Conv network of channel splits: (b, h, w, c) or (b, c) -> s, b; dense layers and no norm at 1x1.

    Attributes:
      hidden: h, width; even.
    """

    hidden: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, visible: Array, cond: Array | None = None) -> tuple[Array, Array]:
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
        for i in range(3):
            x = layer(self.hidden, f"hidden_{i}")(x)
        for_s, for_b = jnp.split(x, 2, -1)
        s = layer(channels, "scale", 1, "linear", zero=True)(for_s)
        b = layer(self.hidden // 2, "shift_hidden")(for_b)
        return s, layer(channels, "shift", 1, "linear")(b)


class UNetConditioner(nn.Module):
    """U-Net of checkerboard splits: (b, h, w, c) -> s, b, both zero at first.

    Attributes:
      hidden: h, width of the finest scale; even.
      growth: q, width i is floor(h q^i).
      scales: n, scales below the finest.
      halvings: t, halvings from one scale to the next.
    """

    hidden: int
    growth: float
    scales: int
    halvings: int
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, visible: Array, cond: Array | None = None) -> tuple[Array, Array]:
        conv = partial(Conv, execution=self.execution)
        widths = [math.floor(self.hidden * self.growth**i) for i in range(self.scales + 1)]
        channels, resolution = visible.shape[-1], visible.shape[1]

        def residual(x: Array, first: int, second: int, name: str) -> Array:
            r = conv(first, 1, name=f"{name}_a")(instance_norm(x))
            r = conv(second, 1, name=f"{name}_b")(r)
            joined = jnp.concatenate([instance_norm(x), r], -1)
            return conv(second, 1, "linear", name=f"{name}_c")(joined)

        x = visible
        if cond is not None:
            cond = conv(cond.shape[-1] // 2, 1, "tanh", name="cond")(cond)
            x = jnp.concatenate([x.astype(cond.dtype), cond], -1)
        for name in ("join", "hidden_0", "hidden_1"):
            x = conv(self.hidden, name=name)(x)
        skips = []
        for i in range(self.scales):
            skips.append(x)
            x = repeat(coupling_halve, self.halvings, x)
            x = residual(x, widths[i + 1], widths[i + 1], f"down_{i}")
        x = conv(widths[-1], 1 if resolution // 2**self.scales == 1 else 3, name="bottom")(x)
        for i, skip in enumerate(reversed(skips)):
            x = repeat(coupling_double, self.halvings, x)
            x = residual(x, widths[self.scales - i], widths[self.scales - i - 1], f"up_{i}")
            x = (x + skip) / math.sqrt(2)
        x = conv(self.hidden, name="hidden_2")(x)
        heads = []
        for name, half in zip(("scale", "shift"), jnp.split(x, 2, -1), strict=True):
            half = conv(self.hidden // 2, name=f"{name}_hidden")(half)
            heads.append(conv(channels, 1, "linear", zero=True, name=name)(half))
        return heads[0], heads[1]
