"""CelebA-HQ 256x256 with 5 bits: the bits/dim column of Table 1, comparable to Glow's."""

from ml_collections import ConfigDict

from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """Configuration A on CelebA-HQ, dequantised from 5 bits."""
    config = presets.config("celebahq_a")
    config.data.bits = 5
    return config
