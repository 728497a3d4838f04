"""Glow on CIFAR-10 32x32 as OpenAI published it: L = 3, K = 32, affine, 512 channels, 8 bits, no noise.

44,520,660 learnable parameters. Published, not run here: 3.35 bits/dim (Glow's paper, Table 2). The published run had
8 workers with 64 images each. It also shifted the training images by up to a tenth of their size, which is not done
here. It did not clip the gradient, whose norm is clipped at 50 here.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema


def get_config() -> ConfigDict:
    """The published model, with the padding and the log-scales of OpenAI's code."""
    config = schema.default("glow")
    config.model.update(dict(levels=3, steps=32, hidden=512, coupling="affine", variant="openai"))
    config.data.source = "tfds"
    config.data.name = "cifar10"
    config.data.resolution = 32
    train = config.train
    train.learning_rate.all = 1e-3
    train.batch_size = 512
    train.init_images = 2_048  # 256 per worker
    train.warmup_images = 500_000  # ten epochs
    train.adam_b2 = train.ema_decay = 1 - 1 / 98  # 98 steps are an epoch
    config.eval.images = 10_000
    config.eval.batch_size = 80
    return config
