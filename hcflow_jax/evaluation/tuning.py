"""The temperature of each level: the std of its latents at which samples are nearest to real images.

The distance is a Frechet distance. All evaluations draw the same normals, so that it is a smooth function of the
temperatures. SciPy's COBYQA minimises it: a trust region with quadratic models, which needs no derivatives. What was
evaluated is kept in a file. A search that is repeated after a stop takes from there what it has evaluated.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from hcflow_jax import api
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import comparison
from hcflow_jax.evaluation.comparison import Side
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.frechet import frechet
from hcflow_jax.files import write

LEAST, MOST = 0.05, 1.3  # temperatures that are tried
EVALUATIONS = 25
FIRST_STEP = 0.15
DIGITS = 4

Sigmas = dict[str, float]
Tell = Callable[[str, int, int], object]


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes:
      sigma: by level, the best.
      distance: at `sigma`.
      start: the temperatures that it began with, and `start_distance` at them.
      tried: (temperatures, distance) of every evaluation, in order.
    """

    sigma: Sigmas
    distance: float
    start: Sigmas
    start_distance: float
    tried: tuple[tuple[Sigmas, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return dataclasses.asdict(self)


class Kept:
    """Distances by temperatures, in a file that belongs to one search."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Reads the file; what another search left there is not used.

        Args:
          path: the path of the file, JSON.
          about: all that a distance depends on besides the temperatures.
        """
        self._path, self._about = path, json.loads(json.dumps(about))
        self._rows: list[dict[str, Any]] = []
        try:
            found = json.loads(path.read_bytes())
            if found["about"] == self._about:
                self._rows = found["tried"]
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def get(self, sigma: Sigmas) -> float | None:
        """The distance, if it is known."""
        return next((row["distance"] for row in self._rows if row["sigma"] == sigma), None)

    def add(self, sigma: Sigmas, distance: float) -> None:
        """Keeps a distance."""
        self._rows.append({"sigma": sigma, "distance": distance})
        text = json.dumps({"about": self._about, "tried": self._rows}, indent=1) + "\n"
        write(self._path, lambda file: file.write(text.encode()))


def tune(
    model: api.Model,
    real: Side,
    extractor: Extractor,
    kept: Kept,
    *,
    samples: int = 2000,
    seed: int = 0,
    evaluations: int = EVALUATIONS,
    denoise: bool = False,
    tell: Tell = lambda what, done, of: None,
) -> Tuned:
    """Minimises the Frechet distance over the temperatures of the levels that `sigma` scales.

    Args:
      model: from `api.load`; its own sigma is where the search begins.
      real: real images that no reported number is measured on.
      extractor: makes the features, as `real` has them.
      kept: distances that are known.
      samples: drawn at each evaluation.
      seed: the seed of their latents.
      evaluations: the evaluations of the distance, at most.
      denoise: whether the samples are denoised.
      tell: is called as samples are done.

    Raises:
      InputError: there are too few samples or evaluations, the model has no level that sigma scales, or samples are
        to be denoised and it was trained without noise.
    """
    levels = model.image_model.scaled_levels
    if not levels:
        raise InputError("this model has no level whose latents sigma scales")
    if samples < 2:
        raise InputError(f"samples is {samples}: a distance needs at least 2")
    if evaluations < 2 * len(levels) + 2:
        raise InputError(f"evaluations is {evaluations}: {len(levels)} levels need at least {2 * len(levels) + 2}")
    tried: list[tuple[Sigmas, float]] = []

    def distance(x: Any) -> float:
        sigma = {name: round(float(value), DIGITS) for name, value in zip(levels, x, strict=True)}
        found = kept.get(sigma)
        if found is None:
            what = f"evaluation {len(tried) + 1} of at most {evaluations}"
            features = comparison.extract_batches(
                "the samples",
                samples,
                model.sample_batches(samples, seed, sigma, denoise=denoise),
                extractor,
                tell=lambda done, of: tell(what, done, of),
            )
            found = frechet(comparison.moments(features), real.statistics)
            kept.add(sigma, found)
        tried.append((sigma, found))
        return found

    given = api.SIGMA if model.sigma is None else model.sigma
    start = np.array([given.get(name, 1.0) if isinstance(given, Mapping) else given for name in levels])
    minimize(
        distance,
        np.clip(start, LEAST, MOST),
        method="COBYQA",
        bounds=[(LEAST, MOST)] * len(levels),
        options={"maxfev": evaluations, "initial_tr_radius": FIRST_STEP, "final_tr_radius": 5e-3},
    )
    best = min(tried, key=lambda each: each[1])
    return Tuned(*best, *tried[0], tuple(tried))
