"""What a perfect model would have: one half of the held-out images, compared with the other half.

Samples have the training noise, and the real images with which they are compared have not. So one half is also given
the training noise, as images have it in training.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.study.runs import CHEAP_AND_DEAR, without_values
from hcflow_jax.config import presets
from hcflow_jax.data import open_source
from hcflow_jax.data.source import Slice
from hcflow_jax.evaluation import comparison, extractors, protocols, real_features
from hcflow_jax.evaluation.protocols import Protocol

NOISY = Protocol("noisy", 0, noise=True)
NOISES = (0.0, 0.005, 0.025)  # standard deviation of the noise: none, that of all models, that of `noise`


def measure(images: str, tell: Callable[[str], object] = print) -> dict[str, Any]:
    """Compares the halves of a set.

    Args:
      images: the set, of configs/study.py.
      tell: is given a line for each comparison.

    Returns:
      {noise: {extractor: see `comparison.compare`}}.
    """
    config = presets.config(f"study:{images}_a")
    held_out = open_source(config, "eval")
    half = len(held_out) // 2
    ours, others = Slice(held_out, 0, half, "first half"), Slice(held_out, half, len(held_out), "second half")
    found: dict[str, Any] = {}
    for name in CHEAP_AND_DEAR:
        extractor = extractors.load(name or config.eval.extractor, None)
        real = real_features.real_side(others, protocols.PLAIN, config, extractor)
        for noise in NOISES:
            config.data.noise_std = noise
            own = real_features.real_side(ours, NOISY if noise else protocols.PLAIN, config, extractor)
            values = without_values(comparison.compare(own, real))
            found.setdefault(str(noise), {})[extractor.name] = values
            tell(f"{images}, noise {noise}, {extractor.name}: {values[extractor.metric]:.2f}")
    return found
