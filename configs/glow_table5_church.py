"""Glow on LSUN church_outdoor 128x128, the baseline of Table 5: 29,818,800 learnable parameters.

It has L = 5, K = 24, additive couplings of 256 channels, Adamax with 5e-3, batch 16, clipping at 50, 8 bits. Section
3.3 says that its size is similar to that of the paper's model, which has 73,512,440 learnable parameters here
(`lsun_church_a.py`). `glow_equal_church.py` has about as many as the paper's model.

Published in the paper, not run here: a Frechet distance of 56.8 with 8 bits (51.5 with 5 bits and the training noise
on the real images), for 30,000 samples at sigma 0.8.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema


def get_config() -> ConfigDict:
    """Glow of Table 5 (`--config.data.path=DIR_train_lmdb --config.data.eval_path=DIR_val_lmdb`)."""
    config = schema.default("glow")
    config.model.update(dict(levels=5, steps=24, hidden=256, coupling="additive"))
    config.data.source = "lsun"
    config.data.resolution = 128
    config.data.noise_std = 0.005  # both models see the same images
    config.train.learning_rate.all = 5e-3
    config.train.batch_size = 16
    config.train.clip_norm = 50.0
    config.sample.sigma = 0.8
    return config
