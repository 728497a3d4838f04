"""ImageNet at 64 px, to compare likelihoods with other flows: 87,043,614 learnable parameters, 17,408 latent dims.

As at 32 px there are two sets, which give different numbers:
  imagenet64.py          tensorflow-datasets `downsampled_imagenet/64x64` (van den Oord et al., 2016): 1,281,149
                         images for training, 49,999 validation images held out. Real NVP, Glow and Flow++ use it.
  imagenet64.py:resized  `imagenet_resized/64x64` (Chrabaszcz et al., 2017): antialiased, so its numbers are lower.
Noise: only the uniform noise of dequantisation (`data.noise_std = 0`).
Flips: none (`--config.data.flip=True` mirrors half of the training images); the bound never has them.
Tested: one training step with small widths, and the shapes of this size. It was never trained: no result is known.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax.config import presets


def get_config(version: str = "downsampled") -> ConfigDict:
    """Levels 64, 32 and 8, for the default of 1,000,000 steps, which are 50 epochs.

    Args:
      version: "downsampled" or "resized".
    """
    rows = presets.load("cifar10")
    middle = schema.level(
        channels=4,
        steps=tuple(split for split in rows.SPLITS for _ in range(2)),
        hidden=128,
        condition=64,
        unet_scales=2,
        encoder=256,
        decoder=512,
        skip=32,
        end_unets=True,
        flow_noise=0.05,
        decoder_noise=0.05,
        weight=10.0,
    )
    finest = rows.finest(hidden=128, condition=64, encoder=128, decoder=256)
    config = rows.for_likelihood({64: finest, 32: middle, 8: rows.coarsest(512)})
    config.data.name = presets.load("imagenet32").name(version, 64)
    config.data.flip = False
    return config
