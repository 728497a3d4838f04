"""FFHQ 256x256, configuration A, as for CelebA-HQ. Set data.path to the folder of images."""

from ml_collections import ConfigDict

from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """Configuration A on a folder of FFHQ's images (`--config.data.path=DIR`)."""
    config = presets.config("celebahq_a")
    config.data.source = "folder"
    config.data.name = ""
    return config
