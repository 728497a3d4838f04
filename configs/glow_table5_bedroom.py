"""Glow on LSUN bedroom 128x128, with the configuration of LSUN church (Table 5). Not run here."""

from ml_collections import ConfigDict

from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """Table 5 (`--config.data.path=DIR_train_lmdb --config.data.eval_path=DIR_val_lmdb`)."""
    return presets.config("glow_table5_church")
