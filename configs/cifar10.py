"""CIFAR-10 at 32 px, to compare likelihoods with other flows: 42,913,846 learnable parameters, 4,096 latent dims.

Set: tensorflow-datasets `cifar10`; 50,000 images for training, the builder's 10,000 test images are held out.
Noise: only the uniform noise of dequantisation (`data.noise_std = 0`), as in published flows. The paper's noise, with
std 0.005, costs 2.44 bits/dim on any images (docs/evaluation.md).
Flips: training mirrors half of the images (`--config.data.flip=False`: none); the bound never does.
Tested: one training step with small widths, and the shapes of this size. It was never trained: no result is known.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema

SPLITS = ("channel", "checker2", "checker4", "checker8")


def finest(**fields: int) -> ConfigDict:
    """The finest level. It has 16 steps, because it has about three quarters of the dimensions.

    Args:
      **fields: the widths `hidden`, `condition`, `encoder` and `decoder`.
    """
    steps = tuple(split for split in SPLITS for _ in range(4))
    return schema.level(channels=3, steps=steps, unet_scales=2, end_unets=True, **fields)


def coarsest(decoder: int) -> ConfigDict:
    """The level of 8 px of configuration A (Tables 2 and 3), with another width of the decoder.

    Args:
      decoder: the width of the decoder.
    """
    return schema.level(
        channels=8,
        steps=("channel",) * 8,
        hidden=128,
        condition=128,
        encoder=256,
        decoder=decoder,
        skip=32,
        style=True,
        norm=True,
        flow_noise=0.05,
        decoder_noise=0.05,
    )


def for_likelihood(levels: dict[int, ConfigDict]) -> ConfigDict:
    """A config for images from tensorflow-datasets, without noise on the images.

    The bound is defined although the finest level has no noise: dequantised images have a density, and every coarser
    level has flow noise.

    Args:
      levels: {resolution: level}.
    """
    config = schema.default()
    config.model.levels = schema.levels(levels)
    config.data.source = "tfds"
    config.data.resolution = max(levels)
    config.data.noise_std = 0.0
    config.train.batch_size = 64
    config.train.warmup_steps = 1_000
    config.eval.batch_size = 64
    return config


def get_config() -> ConfigDict:
    """Levels 32 and 8, for 256 epochs. The encoder learns in the first 60 epochs, as in the paper."""
    config = for_likelihood({32: finest(hidden=96, condition=48, encoder=128, decoder=256), 8: coarsest(256)})
    config.data.name = "cifar10"
    config.train.num_steps = 200_000
    config.eval.images = 10_000
    return config
