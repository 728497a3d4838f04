"""LSUN bedroom 128x128: the configuration of LSUN church."""

from ml_collections import ConfigDict

from configs import lsun_church_a


def get_config() -> ConfigDict:
    """Configuration A at 128 pixels (`--config.data.path=DIR_train_lmdb --config.data.eval_path=DIR_val_lmdb`)."""
    return lsun_church_a.get_config()
