"""CelebA-HQ 256x256 with 5 bits, for the bits/dim column of Table 1, which compares with Glow."""

from ml_collections import ConfigDict

from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """Configuration A on CelebA-HQ, dequantised from 5 bits."""
    config = presets.config("celebahq_a")
    config.data.bits = 5
    return config
