"""The loss: noise at its scale, entropies, weights. Everything is per sample, (b,)."""
# pyright: reportMissingImports=false

import math

import torch
from torch import Tensor

from benchmarks.torch_twin.model import IMAGE_SCALE, ByLevel, Twin

Noise = dict[str, ByLevel]  # {"flow": {level: eps}, "decoder": {level: eps}}


def draw_noise(model: Twin, batch: int) -> Noise:
    """Standard normal draws for every level but the finest."""
    device = model.style_seen.device
    shapes = {name: (batch, *model.shapes[name]) for name in model.names[:-1]}
    return {use: {n: torch.randn(s, device=device) for n, s in shapes.items()} for use in ("flow", "decoder")}


def sigma(y: Tensor, group: int) -> Tensor:
    """Mean over dims of the unbiased std over each run of `group` samples, repeated for its samples: (b,)."""
    var = y.reshape(-1, group, y[0].numel()).var(1)
    varies = var > 0
    # Where a dim does not vary the square root has no gradient: give it 1 to work on, and leave it out.
    std = torch.where(varies, torch.where(varies, var, 1.0).sqrt(), 0.0)
    return std.mean(1).repeat_interleave(group)


def log_normal(z: Tensor, std: float) -> Tensor:
    """log N(z; 0, std^2 I), nats."""
    square = (z / std).square().flatten(1).sum(1)
    return -0.5 * square - z[0].numel() * (0.5 * math.log(2 * math.pi) + math.log(std))


def objective(model: Twin, x: Tensor, noise: Noise) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss (weighted bits) of images (b, 3, R, R), and each level's bits, unweighted."""
    y = model.features(x)
    flow_in, decoder_in, entropies = dict(y), dict(y), {}
    for n in model.names[:-1]:
        own, scale = model.numbers[n], sigma(y[n], model.group)
        dims = y[n][0].numel()
        shaped = scale.view(-1, *[1] * (y[n].dim() - 1))
        flow_in[n] = y[n] + own.flow_noise * shaped * noise["flow"][n]
        decoder_in[n] = y[n] + own.decoder_noise * shaped * noise["decoder"][n]
        if own.flow_noise:
            variance = (own.flow_noise * scale.detach()).square()
            entropies[n] = dims * (0.5 * torch.log(2 * math.pi * variance) + 0.5)
    cond, kernels = model.conditions(y, decoder_in), model.kernels()
    loss, bits = torch.zeros(len(x), device=x.device), {}
    for n in model.names:
        own = model.numbers[n]
        z, log_det = model.flows[n](flow_in[n].detach(), cond[n], kernels[n])
        nats = log_normal(z, own.prior_std) + log_det + entropies.get(n, 0.0)
        if n == model.names[-1]:
            nats = nats + z[0].numel() * math.log(IMAGE_SCALE)
        bits[n] = -nats / math.log(2)
        loss = loss + own.weight * bits[n]
    return loss, bits


def bits_per_dim(model: Twin, bits: dict[str, Tensor]) -> Tensor:
    """Upper bound on -log2 p(image) a dim."""
    return sum(bits.values(), torch.zeros(())) / math.prod(model.shapes[model.names[-1]]) + model.bits
