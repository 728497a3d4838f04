"""A small run of the toy family and an extractor of a few numbers: for tests of what is measured of a model."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import toy_family
import training_fakes as fakes
from PIL import Image

from hcflow_jax import config as schema
from hcflow_jax.config import registry
from hcflow_jax.evaluation import extractors
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.training import loop

SIZE = fakes.SIZE


def network(weights, images):
    """Mean colours of the four quarters."""
    quarters = images.astype(jnp.float32).reshape(-1, 2, SIZE // 2, 2, SIZE // 2, 3).mean((2, 4))
    return weights["scale"] * quarters.reshape(len(images), -1)


EXTRACTOR = Extractor("quarters", 12, network, {"scale": np.float32(0.1)}, "none", "0123456789abcdef0123")


def isolate(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, the toy family, and the small extractor whatever is asked for."""
    monkeypatch.setitem(registry._modules, toy_family.NAME, "toy_family")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(extractors, "load", lambda name, weights: EXTRACTOR)


def make_config(folder, images=28, **train):
    """The toy family on a folder of pictures: the last 12 are held out."""
    fakes.config(folder)
    for i in range(28, images):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(
            folder / f"{i}.png"
        )
    config = schema.default(family=toy_family.NAME)
    config.data.update(dict(source="folder", path=str(folder), resolution=SIZE, eval_images=12))
    config.train.update(dict(batch_size=2, num_steps=4, init_images=4, log_every=1, checkpoint_every=4, eval_every=0))
    config.train.update(train)
    config.eval.update(dict(images=5, batch_size=4, metrics="bits,fid,kid,prc"))
    config.sample.update(dict(count=4, sigma=1.0))
    return config


def train(folder: Path) -> Path:
    """A run of four steps that was measured twice."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        isolate(folder / "cache", monkeypatch)
        loop.train(make_config(folder / "images", measure_every=2), folder / "run")
    return folder / "run"
