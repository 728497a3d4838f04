"""Decides whether a run is on track, by comparing its curves with those of a reference.

The band of a reference reaches from the lowest to the highest of its k seeds. A run is on track where it lies in the
band, widened on both sides by a tolerance. The tolerance is 2 sqrt(1 + 1/k) standard deviations of one run, because
the run and the seeds are taken as draws from one distribution. For bits/dim and loss, the standard deviation is that
of the seeds, at this point and two points on either side, and at least `SPREAD`. For training rows, the variance of
the rows' mean is added. For a distance, the standard deviation is relative to the value, and averaged over all
points. With one seed it is not known, and there is no verdict.

The constants come from three seeds of `configs/demo.py`. Their held-out bits/dim end at 4.826, 4.870 and 4.900: a
standard deviation of 0.037, and 0.079 in loss. The means of their training rows have a standard deviation of 0.13 to
0.18 bits/dim (0.20 to 0.26 in loss) until step 120, during and just after the warm-up of 100 steps. After step 160 it
is 0.06 bits/dim, or 0.047 without the noise of the means.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from hcflow_jax.analysis import bands, comparable
from hcflow_jax.analysis.points import EVAL, MEASURE, TRAIN, Points, Run

WIDTH = 2.0  # the tolerance in standard deviations
SPREAD = {"bits_per_dim": 0.05, "loss": 0.08}  # the least standard deviation of one run
EARLY_SPREAD = {"bits_per_dim": 0.15, "loss": 0.25}  # the same, until twice the warm-up
ON_TRACK, NOT_THERE = "on track", "not there yet"

_FURTHER = 100  # the most windows beyond the end of the reference
_MEDIAN = 0.6745  # the median of the absolute value of a standard normal variable
_AROUND = 10  # the noise of a mean is estimated from this many rows on either side


@dataclasses.dataclass(frozen=True)
class Row:
    """The values of a run and of its reference at one point.

    Attributes:
      at: the step, or the images seen.
      value: the value of the run; None: the run is not there yet.
      low: the lowest value of the reference's seeds.
      median: their median.
      high: their highest value.
      seeds: the number of seeds that have a value here.
      tolerance: how much the band is widened on each side; None: not known.
      verdict: "on track", "ahead by 0.12", "behind by 0.30" or "not there yet"; "" if the tolerance is not known.
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
    """The comparison of a run with a reference.

    Attributes:
      run: the run, with its training rows averaged over the windows of the reference.
      reference: the reference, averaged over the same windows.
      differences: {field: (value of the run, value of the reference)} for fields that affect what is learned.
      measured: the same for fields that affect how held-out bits/dim are measured.
      axis: "step", or "images" if the batch sizes differ.
      refused: the reasons why something cannot be compared, one line each.
      tables: the rows of each quantity.
      speed: images per second of the run divided by those of the reference; None if not known.
    """

    run: Run
    reference: Run
    differences: Mapping[str, tuple[Any, Any]]
    measured: Mapping[str, tuple[Any, Any]]
    axis: str
    refused: tuple[str, ...]
    tables: Mapping[str, tuple[Row, ...]]
    speed: float | None

    @property
    def meets(self) -> bool:
        """Whether the run and the reference have at least one common point."""
        return any(row.value is not None for rows in self.tables.values() for row in rows)

    @property
    def newest(self) -> tuple[str, Row] | None:
        """The last row of loss or bits/dim that has a value of the run, with the name of the quantity; or None."""
        rows = [
            (name, row)
            for name, rows in self.tables.items()
            for row in rows
            if not name.startswith(MEASURE) and row.value is not None
        ]
        return max(rows, key=lambda pair: pair[1].at, default=None)

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the runs whose batch size changed while they trained."""
        return tuple(dict.fromkeys(run.name for run in (self.run, self.reference) if run.changed_batch))

    @property
    def beyond(self) -> bool:
        """Whether the run is beyond the end of the reference."""
        mine, theirs = comparable.batches(self.run, self.reference)
        return self.run.last_step * mine > self.reference.last_step * theirs


def edges(length: int, every: int) -> tuple[float, ...]:
    """The edges of the windows over which training rows are averaged: about 40 windows, fewer if there are few rows.

    A window is a fifth as long as the time before it, but at least two rows and at most a twentieth of the run.

    Args:
      length: the length of the run in steps.
      every: the number of steps from one row to the next.
    """
    found = [0]
    while found[-1] < length:
        width = round(max(2 * every, min(found[-1] / 5, length / 20)))
        end = found[-1] + width
        found.append(length if end + width / 2 >= length else end)
    return tuple(map(float, found))


def compare(run: Run, reference: Run) -> Comparison:
    """Compares a run with a reference.

    Args:
      run: a run with one seed, with its training rows as they were logged.
      reference: a reference with one or more seeds.
    """
    windows = reference.edges or edges(reference.last_step, int(reference.config.train.log_every))
    theirs = reference.windowed(windows)
    mine, others = comparable.batches(run, reference)
    ours = run.windowed(_reaching(tuple(edge * others / mine for edge in windows), run.last_step))
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
    own, fastest = run.seeds[0].images_per_second, reference.fastest.images_per_second
    return Comparison(
        run=ours,
        reference=theirs,
        differences=comparable.differences(run, reference),
        measured=comparable.measured_differently(run, reference),
        axis="step" if mine == others else "images",
        refused=tuple(refused),
        tables={name: rows for name, rows in tables.items() if rows},
        speed=own / fastest if own and fastest else None,
    )


def _reaching(edges: tuple[float, ...], step: int) -> tuple[float, ...]:
    """The windows, and more windows up to `step`, for a run longer than its reference.

    These have the last one's length, or are longer, so that there are at most `_FURTHER` of them.
    """
    width = max(edges[-1] - edges[-2], (step - edges[-1]) / _FURTHER)
    more = math.ceil((step - edges[-1]) / width)
    return (*edges, *(edges[-1] + width * (i + 1) for i in range(more)))


def _noise(rows: Points, means: Points) -> Float[np.ndarray, " n"]:
    """The standard errors of means of training rows.

    They are estimated from the median of absolute second differences. A slope does not change second differences, and
    a jump does not change their median. With fewer than three rows they are not known: infinite.
    """
    bends = np.abs(np.diff(rows.value, 2)) / (_MEDIAN * math.sqrt(6))
    found = []
    for step, count in zip(means.step, means.rows, strict=True):
        at = int(np.searchsorted(rows.step, step))
        near = bends[max(0, at - _AROUND) : at + _AROUND]
        found.append(float(np.median(near)) / math.sqrt(count) if len(near) else math.inf)
    return np.array(found)


def _table(run: Run, reference: Run, name: str, noise: Float[np.ndarray, " n"] | None = None) -> tuple[Row, ...]:
    """The rows of a quantity: the points common to the run and some reference seed, and the reference's end."""
    mine = run.seeds[0].points.get(name, Points.of([])).after(0)
    batch, others = comparable.batches(run, reference)
    most = EARLY_SPREAD.get(name.split("/")[1], 0.0)  # a limit, because a diverging run has unlimited noise
    ends = [points.step[-1] for points in (seed.points.get(name) for seed in reference.seeds) if points]
    if not ends:
        return ()
    end = max(ends) * others / batch
    own = [*mine.step.tolist(), *([end] if end > run.last_step else [])]
    steps = np.array(own) * batch / others
    values = bands.values(reference, name, steps)
    spread = _spread(reference, name, steps, values)
    scale = 1 if batch == others else batch
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
    """The standard deviation of one run at some steps of the reference; NaN if it is not known."""
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
