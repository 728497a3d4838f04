"""The networks inside couplings: a plain one for channel splits, a U-Net for checkerboard splits.

Both take sqrt(2) * the visible part and the conditioning, and give s and b with as many channels as x.
"""
# pyright: reportMissingImports=false

import math

import torch
from torch import Tensor, nn

from benchmarks.torch_twin.layers import Conv, Dense, instance_norm
from benchmarks.torch_twin.resample import CouplingDouble, CouplingHalve


class ConvConditioner(nn.Module):
    """For channel splits: (b, c, h, w) -> s, b; dense layers and no norm for vectors (b, c)."""

    def __init__(self, channels: int, condition: int | None, hidden: int, at_1x1: bool):
        super().__init__()

        def layer(inputs: int, features: int, activation: str = "lrelu", kernel: int = 3, zero: bool = False):
            if at_1x1:
                return Dense(inputs, features, activation, zero=zero)
            return Conv(inputs, features, kernel, activation, zero=zero)

        self.at_1x1 = at_1x1
        self.cond = None if condition is None else layer(condition, condition)
        join = "lrelu" if at_1x1 and condition is not None else "tanh"
        self.join = layer(channels + (condition or 0), channels, join)
        self.hidden_0 = layer(channels, hidden)
        self.hidden_1 = layer(hidden, hidden)
        self.hidden_2 = layer(hidden, hidden)
        self.scale = layer(hidden // 2, channels, "linear", 1, zero=True)
        self.shift_hidden = layer(hidden // 2, hidden // 2)
        self.shift = layer(hidden // 2, channels, "linear", 1)

    def forward(self, x: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.cond is not None and cond is not None:
            x = torch.cat([x, cond + self.cond(cond)], 1)
        x = self.join(x)
        x = x if self.at_1x1 else instance_norm(x)
        x = self.hidden_2(self.hidden_1(self.hidden_0(x)))
        for_s, for_b = x.chunk(2, 1)
        return self.scale(for_s), self.shift(self.shift_hidden(for_b))


class Residual(nn.Module):
    """Instance norm, two 1x1 convolutions, joined with what they saw by a third."""

    def __init__(self, inputs: int, middle: int, outputs: int):
        super().__init__()
        self.a = Conv(inputs, middle, 1)
        self.b = Conv(middle, outputs, 1)
        self.c = Conv(inputs + outputs, outputs, 1, "linear")

    def forward(self, x: Tensor) -> Tensor:
        x = instance_norm(x)
        return self.c(torch.cat([x, self.b(self.a(x))], 1))


class UNetConditioner(nn.Module):
    """For checkerboard splits: (b, c, h, w) -> s, b.

    Width i is floor(hidden * growth**i), with `halvings` halvings between two of `scales` + 1 scales.
    """

    def __init__(
        self,
        channels: int,
        condition: int,
        hidden: int,
        growth: float,
        scales: int,
        halvings: int,
        resolution: int,
    ):
        super().__init__()
        widths = [math.floor(hidden * growth**i) for i in range(scales + 1)]
        self.halving = nn.Sequential(*[CouplingHalve() for _ in range(halvings)])
        self.doubling = nn.Sequential(*[CouplingDouble() for _ in range(halvings)])
        self.cond = Conv(condition, condition // 2, 1, "tanh")
        self.join = Conv(channels + condition // 2, hidden)
        self.hidden_0 = Conv(hidden, hidden)
        self.hidden_1 = Conv(hidden, hidden)
        self.down = nn.ModuleList(Residual(a, b, b) for a, b in zip(widths, widths[1:], strict=False))
        self.bottom = Conv(widths[-1], widths[-1], 1 if resolution // 2**scales == 1 else 3)
        backwards = widths[::-1]
        self.up = nn.ModuleList(Residual(a, a, b) for a, b in zip(backwards, backwards[1:], strict=False))
        self.hidden_2 = Conv(hidden, hidden)
        self.scale_hidden = Conv(hidden // 2, hidden // 2)
        self.scale = Conv(hidden // 2, channels, 1, "linear", zero=True)
        self.shift_hidden = Conv(hidden // 2, hidden // 2)
        self.shift = Conv(hidden // 2, channels, 1, "linear", zero=True)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        x = self.join(torch.cat([x, self.cond(cond)], 1))
        x = self.hidden_1(self.hidden_0(x))
        skips = []
        for residual in self.down:
            skips.append(x)
            x = residual(self.halving(x))
        x = self.bottom(x)
        for residual in self.up:
            x = (residual(self.doubling(x)) + skips.pop()) / math.sqrt(2)
        for_s, for_b = self.hidden_2(x).chunk(2, 1)
        return self.scale(self.scale_hidden(for_s)), self.shift(self.shift_hidden(for_b))
