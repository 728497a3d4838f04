"""Glow on LSUN church_outdoor 128x128, the baseline of Table 5: 29,818,800 learnable parameters.

That is L = 5, K = 24, additive couplings of 256 channels, Adamax with 5e-3, batch 16, clipping at 50, 8 bits.
Section 3.3 calls its size similar to the paper's model, of which 73,512,440 parameters learn here
(`lsun_church_a.py`). `glow_equal_church.py` has as many as that one.

Published by the paper, not run here: a Frechet distance of 56.8 with 8 bits (51.5 with 5 bits and the training noise
on the real images), of 30,000 samples at sigma 0.8.
"""

from ml_collections import ConfigDict

from hcflow_jax import config as schema


def get_config() -> ConfigDict:
    """Table 5 (`--config.data.path=DIR_train_lmdb --config.data.eval_path=DIR_val_lmdb`)."""
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
