"""Equalised-learning-rate layers, instance norm and style modulation; the parameters are named as in our tree."""
# pyright: reportMissingImports=false

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1
GAINS = {
    "lrelu": nn.init.calculate_gain("leaky_relu", SLOPE),
    "tanh": nn.init.calculate_gain("tanh"),
    "linear": 1.0,
}


def activate(x: Tensor, activation: str) -> Tensor:
    """Leaky-ReLU of slope 0.1, tanh, or nothing ("linear")."""
    if activation == "lrelu":
        return F.leaky_relu(x, SLOPE)
    return torch.tanh(x) if activation == "tanh" else x


class _Equalised(nn.Module):
    """Stores w ~ N(0, 1) / m (or 0) and b = 0; uses w m g / sqrt(fan_in) and b m."""

    def __init__(self, shape: tuple[int, ...], factor: float, multiplier: float, zero: bool, bias: bool):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(shape) if zero else torch.randn(shape) / multiplier)
        self.b = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.factor = factor * multiplier / math.sqrt(math.prod(shape[1:]))
        self.multiplier = multiplier

    def weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        b = self.b
        return self.w * self.factor, b if b is None or self.multiplier == 1 else b * self.multiplier


class Conv(_Equalised):
    """k x k convolution with zero padding, then its activation: (b, c, h, w) -> (b, features, h, w)."""

    def __init__(
        self,
        inputs: int,
        features: int,
        kernel: int = 3,
        activation: str = "lrelu",
        multiplier: float = 1.0,
        zero: bool = False,
        bias: bool = True,
    ):
        super().__init__((features, inputs, kernel, kernel), GAINS[activation], multiplier, zero, bias)
        self.activation, self.padding = activation, kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return activate(F.conv2d(x, *self.weight_and_bias(), padding=self.padding), self.activation)


class Dense(_Equalised):
    """Dense layer, then its activation: (b, c) -> (b, features). tanh has leaky-ReLU's gain here."""

    def __init__(
        self, inputs: int, features: int, activation: str = "lrelu", multiplier: float = 1.0, zero: bool = False
    ):
        factor = GAINS["lrelu" if activation == "tanh" else activation]
        super().__init__((features, inputs), factor, multiplier, zero, bias=True)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return activate(F.linear(x, *self.weight_and_bias()), self.activation)


def instance_norm(x: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-6) a sample and channel of (b, c, h, w), var unbiased.

    PyTorch's kernel takes the biased variance, (n - 1) / n of it: the rest is a factor, and a smaller epsilon.
    """
    share = 1 - 1 / (x.shape[2] * x.shape[3])
    return F.instance_norm(x, eps=1e-6 * share) * math.sqrt(share)


class Style(nn.Module):
    """Instance norm, then times s plus b, (s, b) a linear dense layer of the style vector."""

    def __init__(self, style: int, channels: int):
        super().__init__()
        self.dense = Dense(style, 2 * channels, "linear")

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        s, b = self.dense(style)[:, :, None, None].chunk(2, 1)
        return instance_norm(x) * s + b


class StyleNetwork(nn.Module):
    """The style vector: dense leaky-ReLU layers of y_top, (b, n) -> (b, width)."""

    def __init__(self, inputs: int, width: int, layers: int, multiplier: float):
        super().__init__()
        for i in range(layers):
            self.add_module(f"layer_{i}", Dense(width if i else inputs, width, multiplier=multiplier))

    def forward(self, y: Tensor) -> Tensor:
        for layer in self.children():
            y = layer(y)
        return y
