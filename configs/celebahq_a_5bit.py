"""CelebA-HQ 256x256 with 5 bits: the bits/dim column of Table 1, comparable to Glow's."""

from ml_collections import ConfigDict

from configs import celebahq_a


def get_config() -> ConfigDict:
    """Configuration A on CelebA-HQ, dequantised from 5 bits."""
    config = celebahq_a.get_config()
    config.data.bits = 5
    return config
