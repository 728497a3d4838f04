"""Glow of Table 5 on LSUN church 128x128, but as large as the paper's model: 74,104,752 learnable parameters.

The paper's model, `lsun_church_a.py`, has 73,512,440. Only the width of the couplings differs from
`glow_table5_church.py`. Not run here.
"""

from ml_collections import ConfigDict

from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """Couplings of 512 channels (`--config.data.path=DIR_train_lmdb --config.data.eval_path=DIR_val_lmdb`)."""
    config = presets.config("glow_table5_church")
    config.model.hidden = 512
    return config
