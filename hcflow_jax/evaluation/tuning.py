"""Finds the temperature of each level: the std of its latents at which samples are nearest to real images.

The distance is a Frechet distance. All evaluations draw the same standard normal values, so the distance is a smooth
function of the temperatures. SciPy's COBYQA minimises it with a trust region and quadratic models; it needs no
derivatives. A file keeps every evaluated distance. A search that is repeated after a stop reads them from the file.
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

LEAST, MOST = 0.05, 1.3  # the range of the temperatures
EVALUATIONS = 25  # the largest number of evaluations
FIRST_STEP = 0.15  # the first radius of the trust region
DIGITS = 4  # decimals of a temperature

Sigmas = dict[str, float]
Tell = Callable[[str, int, int], object]


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The result of a search.

    Attributes:
      sigma: the best temperature of each level.
      distance: the distance at `sigma`.
      start: the temperatures at which the search began.
      start_distance: the distance at `start`.
      tried: (temperatures, distance) of every evaluation, in order.
    """

    sigma: Sigmas
    distance: float
    start: Sigmas
    start_distance: float
    tried: tuple[tuple[Sigmas, float], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


class Kept:
    """The distances that a search has evaluated, in a file."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Reads the file. The distances of another search are ignored.

        Args:
          path: the path of the JSON file. It need not exist.
          about: everything that a distance depends on except the temperatures. It identifies the search.
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
        """The distance at the temperatures `sigma`; None if it is not known."""
        return next((row["distance"] for row in self._rows if row["sigma"] == sigma), None)

    def add(self, sigma: Sigmas, distance: float) -> None:
        """Adds a distance and writes the file.

        Raises:
          OSError: the file cannot be written.
        """
        self._rows.append({"sigma": sigma, "distance": distance})
        text = json.dumps({"about": self._about, "tried": self._rows}, indent=1) + "\n"
        write(self._path, lambda file: file.write(text.encode()))


def least_evaluations(model: api.Model) -> int:
    """The smallest number of evaluations that `tune` accepts for a model.

    Raises:
      InputError: the model has no level that sigma scales.
    """
    levels = model.image_model.scaled_levels
    if not levels:
        raise InputError("this model has no level whose latents sigma scales")
    return 2 * len(levels) + 2 + _is_moved(_start(model))


def _start(model: api.Model) -> np.ndarray:
    """The temperatures at which a search begins, (levels,)."""
    given = model.default_sigma
    return np.array(
        [given.get(n, 1.0) if isinstance(given, Mapping) else given for n in model.image_model.scaled_levels]
    )


def _is_moved(start: np.ndarray) -> bool:
    """Whether COBYQA begins at other temperatures: it moves a start that is near a bound or beyond it."""
    return bool((np.clip(start, LEAST + FIRST_STEP, MOST - FIRST_STEP) != start).any())


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
      model: from `api.load`. The search begins at its own sigma.
      real: real images. The temperatures are fitted to them, so report distances to other real images.
      extractor: makes the features; the extractor of `real`.
      kept: distances that are already known. New ones are added.
      samples: the number of samples for each evaluation.
      seed: the seed of the samples.
      evaluations: the largest number of evaluations of the distance, at least `least_evaluations`.
      denoise: whether the samples are denoised.
      tell: is called after every batch, with the evaluation, the samples done and their number.

    Raises:
      InputError: there are too few samples or evaluations, the model has no level that sigma scales, or `denoise` is
        True and the model was trained without noise.
    """
    levels, least = model.image_model.scaled_levels, least_evaluations(model)
    if samples < 2:
        raise InputError(f"samples is {samples}: a distance needs at least 2")
    if evaluations < least:
        raise InputError(f"evaluations is {evaluations}: {len(levels)} levels need at least {least}")
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

    start = _start(model)
    if _is_moved(start):
        distance(start)  # so that the search never gives a worse result than its start
    minimize(
        distance,
        np.clip(start, LEAST, MOST),
        method="COBYQA",
        bounds=[(LEAST, MOST)] * len(levels),
        options={"maxfev": evaluations - len(tried), "initial_tr_radius": FIRST_STEP, "final_tr_radius": 5e-3},
    )
    best = min(tried, key=lambda each: each[1])
    return Tuned(*best, *tried[0], tuple(tried))
