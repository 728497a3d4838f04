"""Halving and doubling of images, anti-aliased or bilinear.

The anti-aliased ones are depthwise convolutions on a GPU, one kernel each, and sums of slices on a CPU, where
PyTorch's depthwise convolutions and their gradients take several times as long.
"""
# pyright: reportMissingImports=false

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Smoothed(nn.Module):
    """Holds the 4 x 4 kernel [1, 3, 3, 1] x [1, 3, 3, 1] that sums to `total`."""

    kernel: Tensor

    def __init__(self, total: float):
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", total / 64 * torch.outer(taps, taps)[None, None], persistent=False)

    def for_channels(self, channels: int) -> Tensor:
        return self.kernel.expand(channels, 1, 4, 4)


class Down(_Smoothed):
    """(b, c, h, w) -> (b, c, h/2, w/2): taps [1, 3, 3, 1] / 8 along both axes, reflect padding."""

    def __init__(self):
        super().__init__(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.by_convolution(x) if x.is_cuda else _halve(_halve(x, 2), 3)

    def by_convolution(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.for_channels(channels), stride=2, groups=channels)


class Up(_Smoothed):
    """(b, c, h, w) -> (b, c, 2h, 2w): (x[i-1] + 3 x[i]) / 4 and (3 x[i] + x[i+1]) / 4 along both axes.

    Its two edges differ: x[-1] is x[0] before the first, x[n-2] after the last.
    """

    def __init__(self):
        super().__init__(4.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.by_convolution(x) if x.is_cuda else _double(_double(x, 2), 3)

    def by_convolution(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        padded = F.pad(F.pad(x, (0, 1, 0, 1), mode="reflect"), (1, 0, 1, 0), mode="replicate")
        return F.conv_transpose2d(padded, self.for_channels(channels), stride=2, padding=3, groups=channels)


def _halve(x: Tensor, dim: int) -> Tensor:
    padded = F.pad(x, (1, 1, 0, 0) if dim == 3 else (0, 0, 1, 1), mode="reflect")
    even, odd = (padded[..., i::2] if dim == 3 else padded[..., i::2, :] for i in (0, 1))
    n = x.shape[dim] // 2
    outer = even.narrow(dim, 0, n) + odd.narrow(dim, 1, n)
    inner = odd.narrow(dim, 0, n) + even.narrow(dim, 1, n)
    return (outer + 3 * inner) / 8


def _double(x: Tensor, dim: int) -> Tensor:
    n = x.shape[dim]
    before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, n - 1)], dim)
    after = torch.cat([x.narrow(dim, 1, n - 1), x.narrow(dim, n - 2, 1)], dim)
    return torch.stack([torch.lerp(x, before, 0.25), torch.lerp(x, after, 0.25)], dim + 1).flatten(dim, dim + 1)


class CouplingHalve(Down):
    """In a coupling's U-Net: anti-aliased above 4 pixels, else bilinear with aligned corners."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.shape[-1] > 4 else _aligned(x, x.shape[-1] // 2)


class CouplingDouble(Up):
    """In a coupling's U-Net: anti-aliased above 4 pixels, else bilinear with aligned corners."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.shape[-1] > 4 else _aligned(x, x.shape[-1] * 2)


class DecoderHalve(Down):
    """In a decoder's U-Net: anti-aliased above 8 pixels, else the 2x2 mean."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.shape[-1] > 8 else F.avg_pool2d(x, 2)


class DecoderDouble(Up):
    """In a decoder's U-Net: anti-aliased above 8 pixels, else bilinear with half-pixel centres."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.shape[-1] > 8 else F.interpolate(x, scale_factor=2, mode="bilinear")


def _aligned(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, size=(size, size), mode="bilinear", align_corners=True)
