"""LSUN bedroom 128x128, with the configuration of LSUN church."""

from ml_collections import ConfigDict

from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """Configuration A at 128 pixels (`--config.data.path=DIR_train_lmdb --config.data.eval_path=DIR_val_lmdb`)."""
    return presets.config("lsun_church_a")
