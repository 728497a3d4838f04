"""Glow on CelebA-HQ 256x256 as OpenAI published it: L = 6, K = 32, additive, 512 channels, 5 bits, no noise.

169,791,204 learnable parameters. Published, not run here: 1.03 bits/dim, reported by Chen et al. (Residual Flows,
2019). The published run had 40 workers with one image each. The decay of its Adamax and of its average of the
parameters was 1 - 1/20 per step. It did not clip the gradient, whose norm is clipped at 50 here.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema


def get_config() -> ConfigDict:
    """The published model, with the padding and the log-scales of OpenAI's code."""
    config = schema.default("glow")
    config.model.update(dict(levels=6, steps=32, hidden=512, coupling="additive", variant="openai"))
    config.data.source = "tfds"
    config.data.name = "celeb_a_hq/256"
    config.data.resolution = 256
    config.data.bits = 5
    train = config.train
    train.learning_rate.all = 1e-3
    train.batch_size = 40
    train.init_images = 160  # four images per worker
    train.warmup_images = 7_800  # ten of their epochs, which count a 256 px image as 64 images
    train.adam_b2 = train.ema_decay = 0.95
    return config
