"""A small model for tests of what uses trained models: made once, its heads filled so that every part counts."""

import functools
from pathlib import Path
from typing import Any

import jax
import least_config
import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import api, checkpoint, models


@functools.cache
def config() -> ConfigDict:
    """The least config."""
    return least_config.get_config()


@functools.cache
def params() -> Any:
    """Fresh parameters, moved away from where they start: what starts at zero would hide mistakes."""
    rng = np.random.default_rng(0)
    fresh = models.build(config()).create(jax.random.key(0))
    return jax.tree.map(lambda a: np.asarray(a) + 0.05 * rng.standard_normal(a.shape).astype(np.float32), fresh)


def save(path: Path, **about: Any) -> Path:
    """Writes the model's weights file; `about` is stored in it, too."""
    checkpoint.save_file(path, params(), config(), {"step": 7, **about})
    return path


@functools.cache
def model() -> api.Model:
    """The model, its programs shared by the tests of a process; for batches of 1 and 4, so that these are few."""
    made = api.Model(config(), params())
    made.batch_size = 4
    return made


def images(count: int) -> np.ndarray:
    """Smooth uint8 pictures."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (count, 4, 4, 3)).astype(np.float32)
    return coarse.repeat(4, 1).repeat(4, 2).round().astype(np.uint8)
