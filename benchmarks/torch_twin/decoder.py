"""The decoder: a level's conditioning from the next coarser y, the coarser level's skip and the style vector."""
# pyright: reportMissingImports=false

import math
from functools import partial

import torch
from ml_collections import ConfigDict
from torch import Tensor, nn

from benchmarks.torch_twin.layers import Conv, Style, instance_norm
from benchmarks.torch_twin.resample import DecoderDouble, DecoderHalve, Up

HEAD_LIMIT = 3.0  # |s| of the conditional affine maps
ROOT2 = math.sqrt(2)

Head = tuple[Tensor, Tensor]


class _Pair(nn.Module):
    """[Instance norm,] then two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, norm: bool):
        super().__init__()
        self.a, self.b, self.norm = Conv(inputs, outputs), Conv(outputs, outputs), norm

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(instance_norm(x) if self.norm else x))


class DecoderUNet(nn.Module):
    """U-Net of width floor(inputs * base**i) at scale i: (b, inputs, r, r) -> (b, features, r, r)."""

    def __init__(self, inputs: int, features: int, base: float, resolution: int, norm: bool):
        super().__init__()
        depth = max(1, min(4, int(math.log2(resolution)) - 2))
        widths = [math.floor(inputs * base**i) for i in range(depth + 1)]
        self.halving, self.doubling = DecoderHalve(), DecoderDouble()
        self.start = Conv(inputs, inputs)
        self.down = nn.ModuleList(_Pair(a, b, norm) for a, b in zip(widths, widths[1:], strict=False))
        self.bottom = Conv(widths[-1], widths[-1], 1)
        backwards = widths[::-1]
        self.up = nn.ModuleList(_Pair(a, b, norm) for a, b in zip(backwards, backwards[1:], strict=False))
        self.end_a = Conv(inputs, inputs)
        self.end_b = Conv(inputs, features, activation="linear")

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        skips = []
        for pair in self.down:
            skips.append(x)
            x = self.halving(pair(x))
        x = self.bottom(x)
        for pair in self.up:
            x = (pair(self.doubling(x)) + skips.pop()) / ROOT2
        return self.end_b(self.end_a(x))


class DecoderStage(nn.Module):
    """One doubling at width d: (b, c, r, r) -> (b, d, 2r, 2r)."""

    def __init__(self, inputs: int, width: int, row: ConfigDict, style: int, multiplier: float, last: bool):
        super().__init__()
        conv = partial(Conv, features=width, multiplier=multiplier)
        self.conv_in = conv(inputs)
        self.residual_0, self.residual_1, self.residual_2 = conv(width), conv(width), conv(width)
        self.style_in = Style(style, width) if row.style else None
        self.style_out = Style(style, width) if row.style else None
        self.up, self.norm, self.norm_end = Up(), row.norm, row.norm and not last

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        a = self.conv_in(x)
        a = instance_norm(a) if self.norm else a
        a = self._modulate(self.up((a + self.residual_0(a)) / ROOT2), self.style_in, style)
        a = self._modulate((a + self.residual_1(a)) / ROOT2, self.style_out, style)
        a = (a + self.residual_2(a)) / ROOT2
        return instance_norm(a) if self.norm_end else a

    def _modulate(self, a: Tensor, modulation: Style | None, style: Tensor) -> Tensor:
        if modulation is not None:
            return modulation(a, style)
        return instance_norm(a) if self.norm else a


class LevelDecoder(nn.Module):
    """The decoder of the level of `row`: what its flow is conditioned on, and the skip for the next finer decoder.

    `below`: resolution and channels of the input, the next coarser y or the 4x4 base; `skip_in`, `skip_out`:
    channels, 0 for none.
    """

    def __init__(
        self,
        resolution: int,
        row: ConfigDict,
        below: tuple[int, int],
        skip_in: int,
        skip_out: int,
        style: int,
        multiplier: float,
    ):
        super().__init__()
        coarser, inputs = below
        self.from_base = coarser == 4
        if not self.from_base:
            self.predict_unet = DecoderUNet(inputs + skip_in, inputs, 2.0, coarser, row.norm)
            self.predict_0 = Conv(inputs, row.decoder, multiplier=multiplier)
            self.predict_1 = Conv(row.decoder, row.decoder, multiplier=multiplier, bias=False)
            self.predict_2 = Conv(row.decoder, inputs, 3, "linear", multiplier, bias=False)
        stages = int(math.log2(resolution // coarser))
        for i in range(stages):
            width = row.decoder if i else inputs + skip_in
            stage = DecoderStage(width, row.decoder, row, style, multiplier, last=i == stages - 1)
            self.add_module(f"stage_{i}", stage)
        self.stages = [f"stage_{i}" for i in range(stages)]
        for end in ("start", "end"):
            self.add_module(f"{end}_shift", Conv(row.decoder, row.channels, 1, "linear", multiplier))
            self.add_module(f"{end}_scale_hidden", Conv(row.decoder, row.channels, multiplier=multiplier))
            self.add_module(f"{end}_scale", Conv(row.channels, row.channels, 1, "linear", multiplier, zero=True))
            if row.end_unets:
                unet = DecoderUNet(row.channels, row.channels, 1.5, resolution, row.norm)
                self.add_module(f"{end}_unet", unet)
        self.end_unets = row.end_unets
        self.to_condition = Conv(row.decoder, row.condition, 1, "linear")
        self.to_skip = Conv(row.decoder, skip_out, 1, "linear", multiplier) if skip_out else None

    def forward(
        self, y: Tensor, skip: Tensor | None, style: Tensor
    ) -> tuple[tuple[Head, Tensor, Head], Tensor | None]:
        """((start_b, start_s), what the steps get, (end_b, end_s)), and the skip or None."""
        x = y if self.from_base else self._predict(y, skip)
        for name in self.stages:
            x = self.get_submodule(name)(x, style)
        cond = (self._head(x, "start"), self.to_condition(x), self._head(x, "end"))
        return cond, None if self.to_skip is None else self.to_skip(x)

    def _predict(self, y: Tensor, skip: Tensor | None) -> Tensor:
        joined = y if skip is None else torch.cat([skip, y], 1)
        y = (y + self.predict_unet(joined)) / ROOT2
        w = self.predict_0(y)
        w = self.predict_2((w + self.predict_1(w)) / ROOT2)
        return w if skip is None else torch.cat([skip, w], 1)

    def _head(self, x: Tensor, end: str) -> Head:
        part = self.get_submodule
        b = part(f"{end}_shift")(x)
        if self.end_unets:
            b = (b + part(f"{end}_unet")(b)) / ROOT2
        s = part(f"{end}_scale")(part(f"{end}_scale_hidden")(x))
        return b, s.clamp(-HEAD_LIMIT, HEAD_LIMIT)
