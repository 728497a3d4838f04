"""ImageNet at 32 px, to compare likelihoods with other flows: 65,011,838 learnable parameters, 4,096 latent dims.

There are two sets of this size. They were made with different filters, so they give different numbers:
  imagenet32.py          tensorflow-datasets `downsampled_imagenet/32x32` (van den Oord et al., 2016): 1,281,149
                         images for training, 49,999 validation images held out. Real NVP, Glow and Flow++ use it.
  imagenet32.py:resized  `imagenet_resized/32x32` (Chrabaszcz et al., 2017): antialiased, so its numbers are lower;
                         1,281,167 images for training, 50,000 held out. Some later papers use it.
Noise: only the uniform noise of dequantisation (`data.noise_std = 0`).
Flips: none (`--config.data.flip=True` mirrors half of the training images); the bound never has them.
Tested: one training step with small widths, and the shapes of this size. It was never trained: no result is known.
"""

from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError, presets

SETS = {"downsampled": "downsampled_imagenet", "resized": "imagenet_resized"}


def name(version: str, resolution: int) -> str:
    """The name of the tensorflow-datasets builder of a version.

    Args:
      version: one of `SETS`.
      resolution: pixels.

    Raises:
      ConfigError: there is no such version.
    """
    if version not in SETS:
        raise ConfigError(f"the version after the colon must be one of {', '.join(SETS)}, not {version!r}")
    return f"{SETS[version]}/{resolution}x{resolution}"


def get_config(version: str = "downsampled") -> ConfigDict:
    """Levels 32 and 8, for the default of 1,000,000 steps, which are 50 epochs.

    Args:
      version: one of `SETS`.
    """
    rows = presets.load("cifar10")
    finest = rows.finest(hidden=128, condition=64, encoder=256, decoder=384)
    config = rows.for_likelihood({32: finest, 8: rows.coarsest(512)})
    config.data.name = name(version, 32)
    config.data.flip = False
    return config
