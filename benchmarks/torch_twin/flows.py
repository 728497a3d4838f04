"""The flows: actnorm, coupling and mixing make a step; a level's steps stand between two conditional affine maps.

`forward` is data -> latent and gives log|det dz/dx|, (b,), nats; `inverse` is latent -> data. All in float32.
"""
# pyright: reportMissingImports=false

import itertools
import math
from typing import Any

import torch
from ml_collections import ConfigDict
from torch import Tensor, nn

from benchmarks.torch_twin.coupling_nets import ConvConditioner, UNetConditioner

SCALE_LIMIT, SHIFT_LIMIT = 3.0, 5.0


def affine_forward(x: Tensor, s: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """z = (x - b) exp(-s), log_det = -sum(s)."""
    return (x - b) * torch.exp(-s), -s.flatten(1).sum(1)


class Actnorm(nn.Module):
    """z = (x - b) exp(-s) by channel; (1, c, 1, 1) or (1, c)."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias, self.scale = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def like(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """b and s, shaped to go with x."""
        shape = (1, -1, *[1] * (x.dim() - 2))
        return self.bias.view(shape), self.scale.view(shape)


class Mixing(nn.Module):
    """Holds a free-form kernel, or the generator of an orthogonal one."""

    def __init__(self, channels: int, multiplier: float, orthogonal: bool):
        super().__init__()
        if orthogonal:
            self.generator = nn.Parameter(torch.randn(channels, channels) / multiplier)
        else:
            self.kernel = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)) / multiplier)


class Step(nn.Module):
    """Forward: actnorm, coupling, mixing. `hidden`: mask of the part that the coupling changes."""

    hidden: Tensor
    visible: Tensor

    def __init__(self, channels: int, net: nn.Module, hidden: Tensor, multiplier: float, orthogonal: bool):
        super().__init__()
        self.actnorm, self.coupling = Actnorm(channels), net
        self.mixing = Mixing(channels, multiplier, orthogonal)
        self.kind = type(net)
        self.register_buffer("hidden", hidden, persistent=False)
        self.register_buffer("visible", math.sqrt(2) * (1 - hidden), persistent=False)

    def forward(self, x: Tensor, cond: Tensor | None, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """z and the log-det without the mixing's."""
        bias, scale = self.actnorm.like(x)
        x = (x - bias) * torch.exp(-scale)
        x, log_det = affine_forward(x, *self._scale_and_shift(x, cond))
        pixels = math.prod(x.shape[2:])
        return mix(matrix, x), log_det - pixels * scale.sum()

    def inverse(self, z: Tensor, cond: Tensor | None, inverse: Tensor) -> Tensor:
        z = mix(inverse, z)
        s, b = self._scale_and_shift(z, cond)
        bias, scale = self.actnorm.like(z)
        return (z * torch.exp(s) + b) * torch.exp(scale) + bias

    def _scale_and_shift(self, x: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        s, b = self.coupling(self.visible * x, cond)
        s, b = self.hidden * s.float(), self.hidden * b.float()
        return s.clamp(-SCALE_LIMIT, SCALE_LIMIT), b.clamp(-SHIFT_LIMIT, SHIFT_LIMIT)


def mix(matrix: Tensor, x: Tensor) -> Tensor:
    """x K^T over channels, in float32 whatever the networks run in."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.einsum("ij,bj...->bi...", matrix, x)


class Kernels:
    """What a run of steps' mixings amount to, computed for all at once: matrices, their inverses, log|det|s."""

    def __init__(self, steps: list[Step], multiplier: float, orthogonal: bool, inverse: bool):
        with torch.autocast(steps[0].hidden.device.type, enabled=False):
            if orthogonal:
                u = multiplier * torch.stack([step.mixing.generator for step in steps])
                k = torch.linalg.matrix_exp(u - u.mT)
                # One Newton-Schulz step takes the float32 exponential to its rounding error.
                self.matrices = 1.5 * k - 0.5 * (k @ k.mT @ k)
                self.inverses, self.log_abs_det = self.matrices.mT, torch.zeros((), device=k.device)
                return
            self.matrices = multiplier * torch.stack([step.mixing.kernel for step in steps])
            self.log_abs_det = torch.linalg.slogdet(self.matrices).logabsdet.sum()
            self.inverses = torch.linalg.inv(self.matrices) if inverse else self.matrices


class Steps(nn.ModuleList):
    """Steps in forward order with mixings of one kind."""

    def __init__(self, steps: list[Step], multiplier: float, orthogonal: bool):
        super().__init__(steps)
        self.multiplier, self.orthogonal = multiplier, orthogonal

    def kernels(self, inverse: bool = False) -> Kernels:
        return Kernels(list(self), self.multiplier, self.orthogonal, inverse)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, cond: Any, kernels: Kernels) -> tuple[Tensor, Tensor]:
        total = math.prod(x.shape[2:]) * kernels.log_abs_det
        for step, matrix in zip(self, kernels.matrices.unbind(), strict=True):
            x, log_det = step(x, cond, matrix)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, cond: Any, kernels: Kernels) -> Tensor:
        for step, matrix in zip(reversed(list(self)), kernels.inverses.flip(0).unbind(), strict=True):
            z = step.inverse(z, cond, matrix)  # pyright: ignore[reportCallIssue]
        return z


class LevelFlow(Steps):
    """The flow of one level: its steps between the decoder's first and last affine map."""

    def forward(self, x: Tensor, cond: Any, kernels: Kernels) -> tuple[Tensor, Tensor]:
        (start_b, start_s), own, (end_b, end_s) = cond
        x, first = affine_forward(x, start_s, start_b)
        x, middle = super().forward(x, own, kernels)
        x, last = affine_forward(x, end_s, end_b)
        return x, first + middle + last

    def inverse(self, z: Tensor, cond: Any, kernels: Kernels) -> Tensor:
        (start_b, start_s), own, (end_b, end_s) = cond
        z = super().inverse(z * torch.exp(end_s) + end_b, own, kernels)
        return z * torch.exp(start_s) + start_b


def channel_mask(channels: int, at_1x1: bool) -> Tensor:
    """1 on the last ceil(c/2) channels; (c, 1, 1) or (c,)."""
    mask = (torch.arange(channels) >= channels // 2).float()
    return mask if at_1x1 else mask[:, None, None]


def checker_mask(resolution: int, square: int, index: int) -> Tensor:
    """1 on the squares whose (y//K + x//K) has the parity of `index`; (1, r, r)."""
    at = torch.arange(resolution) // square
    return (1 - (at[:, None] + at[None, :] + index) % 2).float()[None]


def level_flow(resolution: int, row: ConfigDict) -> LevelFlow:
    """The flow of the level of `row`; a step's index counts from the latent side."""
    steps = []
    for split, index in zip(row.steps, itertools.count(len(row.steps) - 1, -1), strict=False):
        if split == "channel":
            net = ConvConditioner(row.channels, row.condition, row.hidden, at_1x1=False)
            hidden = channel_mask(row.channels, at_1x1=False)
        else:
            unet = (row.hidden, row.unet_growth, row.unet_scales, row.unet_halvings)
            net = UNetConditioner(row.channels, row.condition, *unet, resolution)
            hidden = checker_mask(resolution, int(split.removeprefix("checker")), index)
        steps.append(Step(row.channels, net, hidden, row.mixing_multiplier, row.orthogonal))
    return LevelFlow(steps, row.mixing_multiplier, row.orthogonal)


def top_flow(top: ConfigDict, part: ConfigDict, dims: int, condition: int | None) -> Steps:
    """The flow over a part of y_top, (b, dims)."""
    steps = [
        Step(
            dims,
            ConvConditioner(dims, condition, part.hidden, at_1x1=True),
            channel_mask(dims, at_1x1=True),
            top.mixing_multiplier,
            top.orthogonal,
        )
        for _ in range(part.steps)
    ]
    return Steps(steps, top.mixing_multiplier, top.orthogonal)
