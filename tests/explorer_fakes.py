"""The model of plain arithmetic of `cli_fakes`, with what the explorer asks for besides."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import cli_fakes
import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import api
from hcflow_jax.api import latents
from hcflow_jax.errors import InputError

LEVELS, SIZE = cli_fakes.LEVELS, cli_fakes.SIZE


@dataclass
class Coarse:
    level: str
    latents: api.Latents


class Model(cli_fakes.Model):
    """Draws with the std that is asked for; remembers in `calls` from which level it decodes."""

    sigma: Any = None
    statistics: Any = {"8": 1.0}
    image_model = SimpleNamespace(scaled_levels=("4", "8"))
    config = ConfigDict({"data": {"style": "landscape", "bits": 8}})

    @property
    def default_sigma(self) -> Any:
        """The real one's, for a config whose `sample.sigma` is 0.7."""
        return 0.7 if self.sigma is None else self.sigma

    def draw(self, n: int, seed: int = 0, sigma: Any = 0.7, first: int = 0) -> api.Latents:
        """By seed and number; a std of 1 is a tenth here."""
        by_level = dict(sigma) if isinstance(sigma, dict) else {"4": sigma, "8": sigma}
        unit = super().draw(n, seed, 0, first)
        self.calls.pop()
        self.calls.append(("draw", seed, by_level))
        return api.Latents({name: np.float32(by_level.get(name, 1)) * unit[name] for name in LEVELS})

    def decode_coarse(self, z: api.Latents, level: str) -> Coarse:
        """Keeps the coarser levels."""
        self.calls.append(("coarse", level))
        return Coarse(level, z)

    def decode_from(self, coarse: Coarse, z: api.Latents) -> Any:
        """Takes the coarser levels from `coarse` alone."""
        number = LEVELS.index(coarse.level)
        self.calls.append(("from", coarse.level))
        joined = {name: (coarse.latents if LEVELS.index(name) < number else z)[name] for name in LEVELS}
        images = self.decode(api.Latents(joined))
        self.calls.pop()
        return images

    def blend(self, a: api.Latents, b: api.Latents, weight: float = 0.5, how: str = "linear") -> api.Latents:
        """The real one's."""
        at = np.array([weight])
        return api.Latents({m: latents.between(a[m][0], b[m][0], at, how) for m in LEVELS})

    def bits_per_dim(self, images: Any) -> Any:
        """A share of 1 a level."""
        ones = np.ones(len(images), np.float32)
        if not self.statistics:
            raise InputError("the likelihood of 1 images takes statistics")
        return api.Bits({"total": 12 * ones, **dict.fromkeys(LEVELS, ones)}, "stored")
