"""Weights of FID's Inception network by a rule; `golden/features` holds another implementation's numbers for them."""

import functools
import math
import zlib

import numpy as np

from hcflow_jax.evaluation import inception_weights


def _tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    normal = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        made = 1 + 0.2 * np.abs(normal)
    elif name.endswith(("running_mean", "bias")):
        made = 0.1 * normal
    elif name.endswith("bn.weight"):
        made = 1 + 0.1 * normal
    elif name == "fc.weight":
        made = normal / math.sqrt(2048)
    else:
        made = normal * math.sqrt(2 / math.prod(shape[1:]))
    return made.astype(np.float32)


@functools.cache
def weights() -> dict[str, np.ndarray]:
    """Every tensor of the file by name; about a second."""
    return {name: _tensor(name, shape) for name, shape in inception_weights.shapes().items()}
