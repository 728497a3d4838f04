"""LSUN church_outdoor 128x128: levels 128, 64, 32, 8 with the rows of CelebA-HQ; 73,512,440 learnable parameters."""

from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax.config import presets


def get_config() -> ConfigDict:
    """Configuration A at 128 pixels (`--config.data.path=DIR_train_lmdb --config.data.eval_path=DIR_val_lmdb`)."""
    config = schema.default()
    config.model.levels = schema.levels(presets.load("celebahq_a").rows(128))
    config.model.statistics_group = 8
    config.data.source = "lsun"
    config.data.resolution = 128
    rate = config.train.learning_rate
    rate.encoder, rate.decoder, rate.flows = 3e-4, 1e-3, 3e-3
    return config
