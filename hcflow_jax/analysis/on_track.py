"""Whether a run is on track: its curves held against those of a reference.

The band of a reference reaches from the least to the greatest of its k seeds. A run is on track where it lies in the
band, widened on both sides by a tolerance. The tolerance is 2 sqrt(1 + 1/k) standard deviations of one run: the run
and the seeds are draws of one distribution. That deviation is the seeds' own, at this point and two on either side of
it, and at least `SPREAD`; for training rows the noise of their mean is added, in squares. The deviation of a distance
is relative to its value and taken over all points; with one seed it is not known, and there is no verdict.

Three seeds of `configs/demo.py` gave the constants. Held out they end at 4.826, 4.870 and 4.900 bits/dim: a standard
deviation of 0.037, and of 0.079 in loss. Their means of training rows deviate by 0.13 to 0.18 bits/dim (0.20 to 0.26
in loss) until step 120, in and just after the warm-up of 100 steps. After step 160 they deviate by 0.06, of which the
noise of the means leaves 0.047.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from hcflow_jax.analysis import comparable
from hcflow_jax.analysis.histories import EVAL, MEASURE, TRAIN, Points, Run

WIDTH = 2.0
SPREAD = {"bits_per_dim": 0.05, "loss": 0.08}  # the least standard deviation of one run
EARLY_SPREAD = {"bits_per_dim": 0.15, "loss": 0.25}  # the same, until twice the warm-up
ON_TRACK, NOT_THERE = "on track", "not there yet"

_REACH = 0.1  # how far beyond its first and last mean a curve is believed, as a fraction
_MEDIAN = 0.6745  # of the absolute value of a standard normal number
_AROUND = 10  # rows on either side of a mean that its noise is estimated from


@dataclasses.dataclass(frozen=True)
class Row:
    """One point of a run beside the reference.

    Attributes:
      at: the step, or the images seen.
      value: the run's; None where it is not there yet.
      low: least of the reference's seeds.
      median: the median value.
      high: greatest of them.
      seeds: how many of them have a value there.
      tolerance: by which the band is widened; None where it is not known.
      verdict: "on track", "ahead by 0.12", "behind by 0.30", "not there yet"; "" where the tolerance is not known.
    """

    at: int
    value: float | None
    low: float
    median: float
    high: float
    seeds: int
    tolerance: float | None
    verdict: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A run beside a reference.

    Attributes:
      run: the run; training rows averaged over the reference's windows.
      reference: the reference, likewise.
      differences: {field: (the run's value, the reference's)} of what matters for what is learned.
      axis: "step", or "images" where the batch sizes differ.
      refused: why something cannot be compared, a line each.
      tables: rows by quantity.
      speed: images per second of the run, as a multiple of the reference's; None where it is not known.
    """

    run: Run
    reference: Run
    differences: Mapping[str, tuple[Any, Any]]
    axis: str
    refused: tuple[str, ...]
    tables: Mapping[str, tuple[Row, ...]]
    speed: float | None

    @property
    def meets(self) -> bool:
        """Whether the run and the reference have a point in common."""
        return any(row.value is not None for rows in self.tables.values() for row in rows)

    @property
    def newest(self) -> tuple[str, Row] | None:
        """The newest row of loss or bits/dim that judges the run, and what it is of."""
        rows = [
            (name, row)
            for name, rows in self.tables.items()
            for row in rows
            if not name.startswith(MEASURE) and row.value is not None
        ]
        return max(rows, key=lambda pair: pair[1].at, default=None)


def edges(length: int, every: int) -> tuple[float, ...]:
    """Windows over which training rows are averaged: about 40 for a long run, fewer for one of few rows.

    Each is a fifth as long as the time before it, at least two rows and at most a twentieth of the run.

    Args:
      length: the length of the run, steps.
      every: steps from one row to the next.
    """
    found = [0]
    while found[-1] < length:
        width = round(max(2 * every, min(found[-1] / 5, length / 20)))
        end = found[-1] + width
        found.append(length if end + width / 2 >= length else end)
    return tuple(map(float, found))


def compare(run: Run, reference: Run) -> Comparison:
    """Holds a run against a reference.

    Args:
      run: a run with one seed, its training rows as they were logged.
      reference: a reference with one or more seeds.
    """
    windows = reference.edges or edges(reference.last_step, int(reference.config.train.log_every))
    theirs = reference.windowed(windows)
    factor = reference.batch_size / run.batch_size
    ours = run.windowed(_reaching(tuple(edge * factor for edge in windows), run.last_step))
    bound = comparable.bound(run, reference)
    refused, tables = [], {}
    if reason := comparable.refuse_bound(run, reference, bound):
        refused.append(reason)
    else:
        noise = _noise(run.seeds[0].points[f"{TRAIN}/{bound}"], ours.seeds[0].points[f"{TRAIN}/{bound}"])
        tables[f"{TRAIN}/{bound}"] = _table(ours, theirs, f"{TRAIN}/{bound}", noise)
        tables[f"{EVAL}/{bound}"] = _table(ours, theirs, f"{EVAL}/{bound}")
    common = [name for name in run.seeds[0].points if name.startswith(MEASURE) and comparable.has(theirs, name)]
    if common and (reason := comparable.refuse_distances(run, reference)):
        refused.append(reason)
    elif common:
        tables |= {name: _table(ours, theirs, name) for name in common}
    mine, fastest = run.seeds[0].images_per_second, reference.fastest.images_per_second
    return Comparison(
        run=ours,
        reference=theirs,
        differences=comparable.differences(run, reference),
        axis="step" if factor == 1 else "images",
        refused=tuple(refused),
        tables={name: rows for name, rows in tables.items() if rows},
        speed=mine / fastest if mine and fastest else None,
    )


def _reaching(edges: tuple[float, ...], step: int) -> tuple[float, ...]:
    """Windows, then more of the last one's length until a step: for a run that is longer than its reference."""
    width = edges[-1] - edges[-2]
    more = math.ceil((step - edges[-1]) / width)
    return (*edges, *(edges[-1] + width * (i + 1) for i in range(more)))


@dataclasses.dataclass(frozen=True)
class Band:
    """A quantity of all seeds of a run, for a picture.

    Attributes:
      step: where any seed has a point.
      seconds: the seconds of training until then, by the clock of the fastest seed.
      low: least of the seeds.
      median: the median value.
      high: greatest of them.
    """

    step: Float[np.ndarray, " n"]
    seconds: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    median: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]


def band(run: Run, name: str) -> Band:
    """The band of a quantity after the first step; empty where no seed has points of it."""
    found = [seed.points[name].after(0).step for seed in run.seeds if name in seed.points]
    steps = np.unique(np.concatenate(found)) if found else np.empty(0)
    values = np.stack([_at(seed.points.get(name), steps, name.startswith(TRAIN)) for seed in run.seeds])
    kept = ~np.isnan(values).all(0)
    steps, values = steps[kept], values[:, kept]
    clock = run.fastest.clock
    rate = clock.seconds[-1] / clock.step[-1]
    seconds = np.interp(steps, [0.0, *clock.step], [0.0, *clock.seconds])
    seconds += rate * np.maximum(0.0, steps - clock.step[-1])
    low, median, high = (each(values, 0) for each in (np.nanmin, np.nanmedian, np.nanmax))
    return Band(steps, seconds, low, median, high)


def _noise(rows: Points, means: Points) -> Float[np.ndarray, " n"]:
    """Standard errors of means of training rows.

    They come from second differences, in which a slope does not show, and from the median of these, which a jump does
    not move.
    """
    bends = np.abs(np.diff(rows.value, 2)) / (_MEDIAN * math.sqrt(6))
    found = []
    for step, count in zip(means.step, means.rows, strict=True):
        at = int(np.searchsorted(rows.step, step))
        near = bends[max(0, at - _AROUND) : at + _AROUND]
        found.append(float(np.median(near)) / math.sqrt(count) if len(near) else 0.0)
    return np.array(found)


def _at(points: Points | None, steps: Float[np.ndarray, " n"], joined: bool) -> Float[np.ndarray, " n"]:
    """A curve's values at some steps, NaN where it has none; between its points where these may be joined."""
    if not points:
        return np.full(len(steps), np.nan)
    if joined:
        inside = (steps >= (1 - _REACH) * points.step[0]) & (steps <= (1 + _REACH) * points.step[-1])
        return np.where(inside, np.interp(steps, points.step, points.value), np.nan)
    values = dict(zip(points.step.tolist(), points.value.tolist(), strict=True))
    return np.array([values.get(step, np.nan) for step in steps.tolist()])


def _table(run: Run, reference: Run, name: str, noise: Float[np.ndarray, " n"] | None = None) -> tuple[Row, ...]:
    """The rows of a quantity: where the run has points and any seed of the reference has too, and the end."""
    mine = run.seeds[0].points.get(name, Points.of([])).after(0)
    factor = run.batch_size / reference.batch_size
    most = EARLY_SPREAD.get(name.split("/")[1], 0.0)  # of a run that diverges the noise has no end
    ends = [points.step[-1] for points in (seed.points.get(name) for seed in reference.seeds) if points]
    if not ends:
        return ()
    end = max(ends) / factor
    own = [*mine.step.tolist(), *([end] if end > run.last_step else [])]
    steps = np.array(own) * factor
    values = np.stack([_at(seed.points.get(name), steps, name.startswith(TRAIN)) for seed in reference.seeds])
    spread = _spread(reference, name, steps, values)
    scale = 1 if factor == 1 else run.batch_size
    rows = []
    for i, step in enumerate(own):
        seeds = values[:, i][~np.isnan(values[:, i])]
        if not len(seeds):
            continue
        value = float(mine.value[i]) if i < len(mine) else None
        error = min(noise[i], most) if noise is not None and i < len(mine) else 0.0
        wider = math.sqrt(1 + 1 / len(seeds))
        tolerance = None if math.isnan(spread[i]) else WIDTH * wider * math.hypot(spread[i], error)
        low, high = float(seeds.min()), float(seeds.max())
        verdict = _verdict(value, low, high, tolerance)
        rows.append(
            Row(round(step * scale), value, low, float(np.median(seeds)), high, len(seeds), tolerance, verdict)
        )
    return tuple(rows)


def _spread(
    reference: Run, name: str, steps: Float[np.ndarray, " n"], values: Float[np.ndarray, "seeds n"]
) -> Float[np.ndarray, " n"]:
    """The standard deviation of one run at some steps of the reference; NaN where it is not known."""
    columns = [column[~np.isnan(column)] for column in values.T]
    if name.startswith(MEASURE):
        relative = [float(np.var(c, ddof=1) / np.mean(c) ** 2) for c in columns if len(c) > 1]
        share = math.sqrt(np.mean(relative)) if relative else math.nan
        return np.array([share * abs(float(c.mean())) if len(c) else math.nan for c in columns])
    kind = name.split("/")[1]
    warm = 2 * (reference.config.train.warmup_steps or reference.config.train.warmup_images / reference.batch_size)
    found = []
    for i, step in enumerate(steps):
        near = [float(np.var(c, ddof=1)) for c in columns[max(0, i - 2) : i + 3] if len(c) > 1]
        least = (EARLY_SPREAD if step <= warm else SPREAD)[kind]
        found.append(max(least, math.sqrt(np.mean(near)) if near else 0.0))
    return np.array(found)


def _verdict(value: float | None, low: float, high: float, tolerance: float | None) -> str:
    if value is None:
        return NOT_THERE
    if tolerance is None:
        return ""
    if value < low - tolerance:
        return f"ahead by {_short(low - value)}"
    return f"behind by {_short(value - high)}" if value > high + tolerance else ON_TRACK


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 1000 else f"{value:.2g}"
