"""The output of `hcflow compare`: text for a person, values for a program, and a picture."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hcflow_jax import pictures
from hcflow_jax.analysis.bands import Band, band
from hcflow_jax.analysis.on_track import Comparison, Row, edges
from hcflow_jax.analysis.points import EVAL, MEASURE, TRAIN, Run

SHOWN = 8  # the most rows of a table, not counting the row for the end of the reference
LONGEST = 40  # characters of a name in the picture; only the end of a longer name is shown
_BOUNDS = {"bits_per_dim": "bits/dim", "loss": "loss"}
_KINDS = {TRAIN: "training ", EVAL: "held-out "}


def label(quantity: str) -> str:
    """The name of a quantity for a person, such as "held-out bits/dim" or "fid of 2,000 samples"."""
    kind, name = quantity.split("/", 1)
    name, _, count = name.partition(" of ")
    samples = f" of {int(count):,} samples" if count else ""
    return f"{_KINDS.get(kind, '')}{_BOUNDS.get(name, name)}{samples}"


def about(run: Run) -> str:
    """One line about the progress of a run: steps, images and seconds of training."""
    seed, steps = run.seeds[0], run.last_step
    seconds = max(points.seconds[-1] for points in seed.points.values() if len(points))
    end = int(run.config.train.num_steps)
    told = f"{run.name}: step {steps:,} of {end:,}, {run.last_images:,} images, {seconds:,.0f} s of training"
    lost = seed.not_finite_since
    return told if lost is None else f"{told}; its loss is not finite from step {lost:,} on"


def alone(run: Run) -> list[str]:
    """Tables of a run's curves, without a reference, as lines of text."""
    own = run.windowed(edges(run.last_step, int(run.config.train.log_every)))
    lines = []
    for name, points in sorted(own.seeds[0].points.items(), key=lambda pair: not pair[0].startswith(TRAIN)):
        if name.startswith(MEASURE) or len(points) == 0:
            continue
        if name.endswith("/loss") and name.replace("/loss", "/bits_per_dim") in own.seeds[0].points:
            continue
        lines += ["", label(name), f"{'step':>10}{'run':>11}"]
        picked = _thinned(len(points), SHOWN)
        lines += [f"{points.step[i]:>10,.0f}{_number(name, points.value[i]):>11}" for i in picked]
    return lines


def lines(comparison: Comparison) -> list[str]:
    """A comparison as lines of text for a person."""
    reference, count = comparison.reference, len(comparison.reference.seeds)
    seeds = ", ".join(str(seed.seed) for seed in reference.seeds)
    told = [
        f"reference {reference.name}: seed{'s' if count > 1 else ''} {seeds}; "
        f"{reference.last_step:,} steps of {reference.batch_size} images"
    ]
    told += [f"  {reference.about[name]}" for name in ("command", "note") if name in reference.about]
    if comparison.differences:
        told.append("  the configs differ, so a verdict is only a hint:")
        told += _fields(comparison.differences)
    if comparison.measured and any(name.startswith(EVAL) for name in comparison.tables):
        told.append("  held-out values are measured differently, so a verdict on them is only a hint:")
        told += _fields(comparison.measured)
    told += [f"  {reason}" for reason in comparison.refused]
    told += [
        f"  the batch size changed while {name} trained, so its steps are not all alike: a verdict is only a hint"
        for name in comparison.changed
    ]
    if comparison.axis == "images":
        ratio = reference.batch_size / comparison.run.batch_size
        told.append("  the batch sizes differ, so the tables go by images seen")
        told.append(f"  after as many images, the run has made {ratio:.3g} times as many steps as the reference")
    if f"{TRAIN}/loss" in comparison.tables:
        told.append("  bits/dim is not defined for both (a level without noise), so they are compared by loss")
    for name, rows in comparison.tables.items():
        told += ["", *_table(name, rows, comparison)]
    told += ["", *_speed(comparison), _verdict(comparison)]
    return told


def _fields(pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    return [f"    {path}: {_value(mine)} here, {_value(theirs)} there" for path, (mine, theirs) in pairs.items()]


def _table(name: str, rows: Sequence[Row], comparison: Comparison) -> list[str]:
    count = len(comparison.reference.seeds)
    head = f"reference ({count} seed{'s' if count > 1 else ''})"
    told = [label(name), f"{comparison.axis:>10}{'run':>11}   {head:<24}{'tolerance':<12}verdict"]
    own = [row for row in rows if row.value is not None]
    for row in [own[i] for i in _thinned(len(own), SHOWN)] + [row for row in rows if row.value is None]:
        value = "" if row.value is None else _number(name, row.value)
        between = _between(name, row) + (f" ({row.seeds})" if row.seeds < count else "")
        tolerance = "not known" if row.tolerance is None else _number(name, row.tolerance)
        told.append(f"{row.at:>10,}{value:>11}   {between:<24}{tolerance:<12}{row.verdict}".rstrip())
    return told


def _speed(comparison: Comparison) -> list[str]:
    mine = comparison.run.seeds[0].images_per_second
    fastest = comparison.reference.fastest
    if comparison.speed is None or mine is None or fastest.images_per_second is None:
        return []
    device = fastest.about.get("device")
    where = f" on {device}" if device else ""
    theirs = f"{comparison.reference.name}'s {fastest.images_per_second:.1f}{where}"
    return [f"speed: {mine:.1f} images/s, {comparison.speed:.2f} times {theirs}"]


def _verdict(comparison: Comparison) -> str:
    if comparison.newest is None:
        return "verdict: none, since neither bits/dim nor loss can be compared"
    name, row = comparison.newest
    assert row.value is not None
    differs = bool(comparison.differences) or (name.startswith(EVAL) and bool(comparison.measured))
    reasons = {
        "the configs differ": differs,
        "the batch size changed": bool(comparison.changed),
    }
    hint = " and ".join(reason for reason, holds in reasons.items() if holds)
    where = f"at step {row.at:,}" if comparison.axis == "step" else f"after {row.at:,} images"
    lost = comparison.run.seeds[0].not_finite_since
    before = "" if lost is None else f"not finite from step {lost:,} on; before, "
    return (
        f"verdict: {before}{row.verdict} {where}: {label(name)} {_number(name, row.value)}, "
        f"{comparison.reference.name} {_between(name, row)} over {row.seeds} seed{'s' if row.seeds > 1 else ''}"
        f"{f'; a hint, since {hint}' if hint else ''}{_beyond(comparison)}"
    )


def _beyond(comparison: Comparison) -> str:
    """What the last training rows of a run have, if it is beyond the end of its reference."""
    names = [name for name in comparison.tables if name.startswith(TRAIN)]
    if not comparison.beyond or not names:
        return ""
    points = comparison.run.seeds[0].points[names[0]]
    value = _number(names[0], float(points.value[-1]))
    return f"; now at step {comparison.run.last_step:,}, beyond the reference's end, with {label(names[0])} {value}"


def plain(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain values for JSON, with all rows of all tables."""
    reference, newest = comparison.reference, comparison.newest
    return {
        "reference": reference.name,
        "seeds": [seed.seed for seed in reference.seeds],
        "differences": {path: {"run": a, "reference": b} for path, (a, b) in comparison.differences.items()},
        "measured_differently": {path: {"run": a, "reference": b} for path, (a, b) in comparison.measured.items()},
        "batch_size_changed": list(comparison.changed),
        "not_finite_since": comparison.run.seeds[0].not_finite_since,
        "refused": list(comparison.refused),
        "axis": comparison.axis,
        "tables": {name: [dataclasses.asdict(row) for row in rows] for name, rows in comparison.tables.items()},
        "images_per_second": comparison.run.seeds[0].images_per_second,
        "speed_ratio": comparison.speed,
        "verdict": None if newest is None else {"quantity": newest[0], **dataclasses.asdict(newest[1])},
    }


def draw(path: Path, run: Run, comparisons: Sequence[Comparison]) -> None:
    """Draws the curves of a run and the bands of its references, by step and by time.

    There is one row of panels for each quantity.

    Args:
      path: the path of the PNG.
      run: the run, as it was read.
      comparisons: one for each reference. None given: only the run is drawn.

    Raises:
      MissingExtraError: matplotlib is not installed.
    """
    images = any(comparison.axis == "images" for comparison in comparisons)
    own = comparisons[0].run if comparisons else run.windowed(edges(run.last_step, int(run.config.train.log_every)))
    found = list(dict.fromkeys(name for comparison in comparisons for name in comparison.tables))
    if not found:
        bound = "bits_per_dim" if f"{TRAIN}/bits_per_dim" in own.seeds[0].points else "loss"
        found = [f"{TRAIN}/{bound}", f"{EVAL}/{bound}"]
    shown: dict[str, list[str]] = {}
    for name in found:
        shown.setdefault(label(name).removeprefix("training ").removeprefix("held-out "), []).append(name)
    rows = []
    for y_label, names in shown.items():
        everything = [(each, name) for name in names for each in (*(c.reference for c in comparisons), own)]
        pairs = [(each, name) for each, name in everything if len(band(each, name).step)]
        titles = _titles([each for each, _ in pairs])
        by_step = [_series(each, name, own, titles, "images" if images else "step") for each, name in pairs]
        unit, seconds = _unit(max(float(np.max(b.seconds, initial=0)) for b in (band(*pair) for pair in pairs)))
        by_time = [_series(each, name, own, titles, "seconds", seconds) for each, name in pairs]
        x_label, top = (
            "images seen" if images else "step",
            _top([band(*pair) for pair in pairs if pair[0] is not own]),
        )
        by_what = ((by_step, x_label), (by_time, f"training time [{unit}]"))
        rows.append([pictures.Panel(series, x, y_label, top=top) for series, x in by_what])
    pictures.panels(path, rows)


def _titles(runs: Sequence[Run]) -> dict[str, str]:
    """What a legend calls runs: the end of a long name, unless two names have the same end."""
    names = list(dict.fromkeys(run.name for run in runs))
    short = [name if len(name) <= LONGEST else f"...{name[3 - LONGEST :]}" for name in names]
    return {name: cut if short.count(cut) == 1 else name for name, cut in zip(names, short, strict=True)}


def _series(
    run: Run, quantity: str, own: Run, titles: Mapping[str, str], axis: str, divisor: float = 1.0
) -> pictures.Series:
    """The line or the points of a run. With several seeds: their median and their band."""
    found = band(run, quantity)
    xs = found.seconds / divisor if axis == "seconds" else found.step * (run.batch_size if axis == "images" else 1)
    points, several = not quantity.startswith(TRAIN), len(run.seeds) > 1
    name = titles[run.name]
    name = name if run is own else f"reference {name}" + (f", {len(run.seeds)} seeds" if several else "")
    kind = ", held out" if quantity.startswith(EVAL) else ""
    edges = (found.low, found.high) if several else (None, None)
    return pictures.Series(f"{name}{kind}", xs, found.median, *edges, points=points, like=name)


def _top(bands: Sequence[Band]) -> float | None:
    """The upper limit of a quantity's panel. A run that diverges must not squeeze the references into a line."""
    high = max((float(np.max(each.high)) for each in bands if len(each.high)), default=None)
    low = min((float(np.min(each.low)) for each in bands if len(each.low)), default=None)
    return None if high is None or low is None or high == low else high + (high - low)


def _unit(seconds: float) -> tuple[str, float]:
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 3 * size:
            return unit, size
    return "seconds", 1.0


def _thinned(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0 to count - 1, evenly spaced, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist() if count else []


def _number(quantity: str, value: float) -> str:
    return f"{value:.4g}" if quantity.startswith(MEASURE) or abs(value) >= 1e5 else f"{value:.3f}"


def _between(quantity: str, row: Row) -> str:
    if row.seeds == 1:
        return _number(quantity, row.low)
    return f"{_number(quantity, row.low)} to {_number(quantity, row.high)}"


def _value(value: Any) -> str:
    return "absent" if value is None else str(value)
