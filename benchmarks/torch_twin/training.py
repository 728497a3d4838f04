"""A training step: augmentation, loss, gradients, clipping, Adam at a rate a group of modules, moving average."""
# pyright: reportMissingImports=false

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hcflow_jax.models.hierarchy.rate_groups import RATE_GROUPS
from hcflow_jax.training import groups

PRECISIONS = ("float32", "tf32", "bfloat16")


def settle_precision(precision: str) -> None:
    """TF32, where asked for, is convolutions' alone: matrix products (mixings, exponentials) are full float32.

    That is PyTorch's own default, under which the authors' release runs.
    """
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The networks in bfloat16, or as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def groups_of(names: Iterable[str]) -> dict[str, str]:
    """The learning-rate group of every parameter of the twin, by our own table."""
    names = list(names)
    labels = groups.labels({name.replace(".", "/"): 0 for name in names}, RATE_GROUPS)
    return {name: labels[name.replace(".", "/")] for name in names}


def random_images(config: ConfigDict) -> Tensor:
    """uint8 (b, R, R, 3), the same as our side is timed on."""
    batch, resolution = config.train.batch_size, config.data.resolution
    shape = (batch, resolution, resolution, 3)
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def channels_first(images: Tensor) -> Tensor:
    """(b, R, R, 3) -> (b, 3, R, R), in memory too: PyTorch would else run every layer channels-last."""
    return images.permute(0, 3, 1, 2).contiguous()


def augment(images: Tensor, bits: int, noise_std: float) -> Tensor:
    """uint8 (b, R, R, 3) -> (b, 3, R, R): mirrored with p = 0.5, dequantised, with Gaussian noise."""
    x = (channels_first(images) >> (8 - bits)).float()
    flip = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
    x = torch.where(flip, x.flip(3), x)
    return (x + torch.rand_like(x)) / 2**bits - 0.5 + noise_std * torch.randn_like(x)


class Trainer:
    """One step a call, on a batch of uint8 images of the host's, (b, R, R, 3).

    Args:
      model: whose parameters learn.
      groups: learning-rate group by parameter name.
      backward: x -> leaves the mean loss's gradients in the parameters.
      config: rates, clipping, averaging, bits and noise of the data.
    """

    def __init__(
        self, model: nn.Module, groups: dict[str, str], backward: Callable[[Tensor], Any], config: ConfigDict
    ):
        train = config.train
        learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
        rows = [
            {"params": [p for name, p in learning.items() if groups[name] == group], "lr": train.learning_rate[group]}
            for group in train.learning_rate
        ]
        betas = (train.adam_b1, train.adam_b2)
        rows, how = [row for row in rows if row["params"]], {"betas": betas, "eps": train.adam_eps}
        if train.optimizer == "adamax":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adamax(rows, foreach=True, **how)
        else:
            self.optimizer = torch.optim.Adam(rows, fused=True, **how)
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(train.ema_decay))
        self.model, self.parameters, self.backward = model, list(learning.values()), backward
        self.clip_norm, self.data = train.clip_norm, config.data
        self.device = self.parameters[0].device

    def __call__(self, images: Tensor) -> None:
        x = augment(images.to(self.device), self.data.bits, self.data.noise_std)
        self.optimizer.zero_grad(set_to_none=True)
        self.backward(x)
        nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        self.average.update_parameters(self.model)
