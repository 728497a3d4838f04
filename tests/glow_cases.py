"""Glow's golden cases (`golden/glow`, computed with a public PyTorch implementation), and a least Glow config.

The weight of the top prior's convolution, which sees zeros alone, was left out of the files to keep them small.
"""

import functools
import json
from typing import Any

import numpy as np
from golden_data import GOLDEN, group, load
from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.interop import glow_names

CASES = ("additive", "affine")
NO_KEYS: Any = None  # Glow draws no noise of its own


@functools.cache
def config(case: str) -> ConfigDict:
    """The case's config; in float32, as the numbers are, on a GPU too."""
    said = json.loads((GOLDEN / "glow" / case / "config.json").read_text())
    made = least(said["resolution"], levels=said["L"], steps=said["K"], hidden=said["hidden"])
    made.model.coupling = said["coupling"]
    made.execution.dtype = "float32"
    return made


@functools.cache
def model(case: str) -> Any:
    return models.build(config(case))


@functools.cache
def params(case: str) -> Any:
    """The parameters of the case's forward and backward numbers."""
    return glow_names.from_flat(group(load(f"glow/{case}/forward"), "param/"), config(case))


def x(case: str) -> np.ndarray:
    return nhwc(load(f"glow/{case}/forward")["x"])


def nhwc(array: np.ndarray) -> np.ndarray:
    """(b, c, h, w) -> (b, h, w, c), whatever h and w are."""
    return array.transpose(0, 2, 3, 1)


def latents(case: str, prefix: str, suffix: str) -> dict[str, np.ndarray]:
    """The case's arrays {prefix}split{i}{suffix} and those of the top, by our names of the levels."""
    data, levels = load(f"glow/{case}/forward"), config(case).model.levels
    resolution = config(case).data.resolution
    names = [f"split{i}{suffix}" for i in range(levels - 1)] + [("z_top" if not prefix else "top") + suffix]
    found = {str(resolution // 2 ** (i + 1)): nhwc(data[prefix + name]) for i, name in enumerate(names)}
    return dict(reversed(found.items()))


def least(resolution: int = 8, **model: Any) -> ConfigDict:
    """Glow of the least size, float32 in the whole."""
    made = schema.default("glow")
    made.data.resolution = resolution
    made.model.update({"levels": 2, "steps": 2, "hidden": 4, **model})
    return made
