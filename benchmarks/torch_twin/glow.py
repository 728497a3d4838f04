"""Glow in PyTorch, as one would write it there: what ours is timed against. Or the public one, from a clone.

Actnorms, 1x1 convolutions by their matrices, additive or affine couplings with three convolutions, splits with a
learned prior (docs/glow.md). Images are (b, 3, R, R).
"""
# pyright: reportMissingImports=false

import importlib
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ml_collections import ConfigDict
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.torch_twin import training


class Actnorm(nn.Module):
    """(x + bias) exp(logs)."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.logs = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bias) * torch.exp(self.logs)

    def log_det(self, x: Tensor) -> Tensor:
        """nats, for each image the same."""
        return self.logs.sum() * x.shape[2] * x.shape[3]


class ZeroConv(nn.Module):
    """A 3x3 convolution that starts at zero, times exp(3 logs)."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, 3, padding=1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # pyright: ignore[reportArgumentType]
        self.logs = nn.Parameter(torch.zeros(1, outside, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * torch.exp(3 * self.logs)


class Step(nn.Module):
    """Actnorm, 1x1 convolution, coupling."""

    def __init__(self, channels: int, hidden: int, affine: bool):
        super().__init__()
        self.affine, half = affine, channels // 2
        self.norm = Actnorm(channels)
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(channels, channels))[0])
        self.net = nn.Sequential(
            nn.Conv2d(half, hidden, 3, padding=1, bias=False),
            Actnorm(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1, bias=False),
            Actnorm(hidden),
            nn.ReLU(),
            ZeroConv(hidden, (1 + affine) * (channels - half)),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z, and the log-determinant, (b,) or ()."""
        log_det = self.norm.log_det(x) + torch.linalg.slogdet(self.weight)[1] * x.shape[2] * x.shape[3]
        x = functional.conv2d(self.norm(x), self.weight[:, :, None, None])
        seen, changed = x.chunk(2, 1)
        made = self.net(seen)
        if not self.affine:
            return torch.cat([seen, changed + made], 1), log_det
        scale = torch.sigmoid(made[:, 1::2] + 2)
        return torch.cat([seen, (changed + made[:, ::2]) * scale], 1), log_det + scale.log().flatten(1).sum(1)

    def inverse(self, z: Tensor, inverse_weight: Tensor) -> Tensor:
        seen, changed = z.chunk(2, 1)
        made = self.net(seen)
        if self.affine:
            changed = changed / torch.sigmoid(made[:, 1::2] + 2) - made[:, ::2]
        else:
            changed = changed - made
        x = functional.conv2d(torch.cat([seen, changed], 1), inverse_weight[:, :, None, None])
        return x * torch.exp(-self.norm.logs) - self.norm.bias


def _log_normal(z: Tensor, mean: Tensor, logs: Tensor) -> Tensor:
    terms = -0.5 * ((z - mean) * torch.exp(-logs)) ** 2 - logs - 0.5 * math.log(2 * math.pi)
    return terms.flatten(1).sum(1)


class Glow(nn.Module):
    """Images to bits/dim, and latents to images.

    Args:
      config: of the family glow, variant "pytorch", mixing "full".
    """

    def __init__(self, config: ConfigDict):
        super().__init__()
        model, channels = config.model, 3
        if model.mixing != "full" or model.variant != "pytorch":
            raise SystemExit("the twin of Glow has mixing 'full' and variant 'pytorch'")
        self.bits, self.resolution = config.data.bits, config.data.resolution
        self.levels, self.priors = nn.ModuleList(), nn.ModuleList()
        for i in range(model.levels):
            channels *= 4
            steps = [Step(channels, model.hidden, model.coupling == "affine") for _ in range(model.steps)]
            self.levels.append(nn.ModuleList(steps))
            if i < model.levels - 1:
                channels //= 2
                self.priors.append(ZeroConv(channels, 2 * channels))
        self.top_mean = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.top_logs = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """bits/dim, (b,)."""
        total, dims = torch.zeros(len(x), device=x.device), x[0].numel()
        for i, steps in enumerate(self.levels):
            x = functional.pixel_unshuffle(x, 2)
            for step in steps:  # pyright: ignore[reportGeneralTypeIssues]
                x, log_det = step(x)
                total = total + log_det
            if i < len(self.priors):
                x, z = x.chunk(2, 1)
                made = self.priors[i](x)
                total = total + _log_normal(z, made[:, ::2], made[:, 1::2])
        total = total + _log_normal(x, self.top_mean, self.top_logs)
        return -total / (dims * math.log(2)) + self.bits

    def inverses(self) -> list[list[Tensor]]:
        """Of the 1x1 convolutions."""
        return [[torch.linalg.inv(step.weight) for step in steps] for steps in self.levels]  # pyright: ignore

    def sample(self, count: int, sigma: float, inverses: list[list[Tensor]]) -> Tensor:
        """x of normals that are drawn here."""
        side = self.resolution // 2 ** len(self.levels)
        device = self.top_mean.device

        def normal(channels: int, side: int) -> Tensor:
            return sigma * torch.randn(count, channels, side, side, device=device)

        x = self.top_mean + torch.exp(self.top_logs) * normal(self.top_mean.shape[1], side)
        for i in reversed(range(len(self.levels))):
            if i < len(self.priors):
                made = self.priors[i](x)
                z = made[:, ::2] + torch.exp(made[:, 1::2]) * normal(x.shape[1], x.shape[2])
                x = torch.cat([x, z], 1)
            steps: Any = self.levels[i]
            for step, inverse in zip(reversed(steps), reversed(inverses[i]), strict=True):
                x = step.inverse(x, inverse)
            x = functional.pixel_shuffle(x, 2)
        return x


def _public(clone: Path, config: ConfigDict) -> Any:
    """y0ast's Glow from a clone.

    Raises:
      SystemExit: the clone has no model.py.
    """
    if not (clone / "model.py").is_file():
        raise SystemExit(f"--glow: {clone / 'model.py'} does not exist")
    sys.path.insert(0, str(clone))
    model, size = config.model, config.data.resolution
    return importlib.import_module("model").Glow(
        image_shape=(size, size, 3),
        hidden_channels=model.hidden,
        K=model.steps,
        L=model.levels,
        actnorm_scale=1.0,
        flow_permutation="invconv",
        flow_coupling=model.coupling,
        LU_decomposed=False,
        y_classes=1,
        learn_top=True,
        y_condition=False,
    )


def prepare(
    config: ConfigDict, what: str, precision: str, how: Mapping[str, Any], device: torch.device
) -> Callable[[], Any]:
    """What is timed, as a function of nothing."""
    layout = torch.channels_last if how["layout"] == "nhwc" else torch.contiguous_format
    batch, images, clone = config.train.batch_size, training.random_images(config), how.get("glow")
    network: Any = _public(clone, config) if clone else Glow(config)
    network = network.to(device).to(memory_format=layout)
    wrap: Any = torch.compile if how["torch"] == "compile" else lambda function: function
    bits = wrap((lambda x: network(x)[1]) if clone else network.forward)
    x = (training.channels_first(images).to(device) / 256 - 0.5).contiguous(memory_format=layout)
    network(x)  # the public one initialises its actnorms
    if what == "sample":
        if clone:
            raise SystemExit("--what=sample times the twin; leave --glow out")
        inverses = network.inverses()

        def sample() -> Any:
            with torch.no_grad(), training.autocast(device, precision):
                return network.sample(batch, config.sample.sigma, inverses)

        return sample

    def backward(x: Tensor) -> None:
        with training.autocast(device, precision):
            loss = bits(x.contiguous(memory_format=layout)).mean()
        loss.backward()

    if what == "gradient":

        def gradient() -> None:
            network.zero_grad(set_to_none=True)
            backward(x)

        return gradient
    step = training.Trainer(network, {name: "all" for name, _ in network.named_parameters()}, backward, config)
    return lambda: step(images)
