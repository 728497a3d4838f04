"""FFHQ 256x256, configuration A: as CelebA-HQ. Point data.path at the folder of images."""

from ml_collections import ConfigDict

from configs import celebahq_a


def get_config() -> ConfigDict:
    """Configuration A on a folder of FFHQ's images (`--config.data.path=DIR`)."""
    config = celebahq_a.get_config()
    config.data.source = "folder"
    config.data.name = ""
    return config
