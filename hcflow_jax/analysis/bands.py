"""The values of a quantity over all seeds of a run: a curve for each seed, and the band between them."""

import dataclasses

import numpy as np
from jaxtyping import Float

from hcflow_jax.analysis.points import TRAIN, Run, Seed

_REACH = 0.1  # a curve is extended beyond its first and last mean by at most this fraction of the step


@dataclasses.dataclass(frozen=True)
class Band:
    """A quantity over all seeds of a run, for a picture.

    Attributes:
      step: the steps at which any seed has a point.
      seconds: the seconds of training until then, for the fastest seed.
      low: the lowest value of the seeds.
      median: their median.
      high: their highest value.
    """

    step: Float[np.ndarray, " n"]
    seconds: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    median: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]


def band(run: Run, name: str) -> Band:
    """The band of a quantity, without step 0. It is empty if no seed has points of the quantity."""
    own = [seed.points[name].after(0).step for seed in run.seeds if name in seed.points]
    steps = np.unique(np.concatenate(own)) if own else np.empty(0)
    found = values(run, name, steps)
    kept = ~np.isnan(found).all(0)
    steps, found = steps[kept], found[:, kept]
    clock = run.fastest.clock
    rate = clock.seconds[-1] / clock.step[-1]
    seconds = np.interp(steps, [0.0, *clock.step], [0.0, *clock.seconds])
    seconds += rate * np.maximum(0.0, steps - clock.step[-1])
    low, median, high = (each(found, 0) for each in (np.nanmin, np.nanmedian, np.nanmax))
    return Band(steps, seconds, low, median, high)


def values(run: Run, name: str, steps: Float[np.ndarray, " n"]) -> Float[np.ndarray, "seeds n"]:
    """The values of a quantity at some steps, for each seed; NaN where it has no value.

    Training rows are interpolated linearly, up to the last step of the seed or to 1.1 times that of its last mean.
    """
    return np.stack([_at(seed, name, steps) for seed in run.seeds])


def _at(seed: Seed, name: str, steps: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    points = seed.points.get(name)
    if not points:
        return np.full(len(steps), np.nan)
    if name.startswith(TRAIN):
        end = min(seed.last_step, (1 + _REACH) * points.step[-1])  # the last means may be missing: not finite
        inside = (steps >= (1 - _REACH) * points.step[0]) & (steps <= end)
        return np.where(inside, np.interp(steps, points.step, points.value), np.nan)
    values = dict(zip(points.step.tolist(), points.value.tolist(), strict=True))
    return np.array([values.get(step, np.nan) for step in steps.tolist()])
