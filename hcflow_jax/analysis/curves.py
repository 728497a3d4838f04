"""Curves of several runs over steps and over time: distances of samples during training (Figure 7), or bounds."""

from collections.abc import Mapping, Sequence
from typing import Any

from hcflow_jax import pictures
from hcflow_jax.analysis.bands import band
from hcflow_jax.analysis.comparison import label
from hcflow_jax.analysis.points import EVAL, MEASURE, TRAIN, Run
from hcflow_jax.errors import InputError
from hcflow_jax.pictures import Panel, Series

_PREFERRED = (MEASURE, EVAL, TRAIN)  # order of quantities: distances, held-out bounds, bounds of training batches
_UNITS = (("hours", 3600.0), ("minutes", 60.0))


def quantities(runs: Sequence[Run]) -> list[str]:
    """The quantities that all runs have: distances, then bounds of held-out images, then of training batches.

    Points at step 0 do not count, because curves begin after it.
    """
    each = [{name for seed in run.seeds for name, points in seed.points.items() if points.after(0)} for run in runs]
    return sorted(set.intersection(*each), key=lambda name: (_PREFERRED.index(name.split("/")[0]), name))


def find(runs: Sequence[Run], wanted: str | None) -> str:
    """Finds the quantity that a user names, among those that all runs have.

    Args:
      runs: at least one run.
      wanted: the name of the quantity ("eval/bits_per_dim"), its label ("held-out bits/dim"), or a part of either
        that matches only one quantity. None: the first of `quantities`.

    Raises:
      InputError: no quantity matches, or several do; the message lists the quantities.
    """
    known = quantities(runs)
    said = ", ".join(label(name) for name in known)
    if not known:
        raise InputError("the runs have no quantity in common; give runs that measure the same")
    if wanted is None:
        return known[0]
    exact = [name for name in known if wanted in (name, label(name))]
    fit = exact or [name for name in known if wanted in name or wanted in label(name)]
    if len(fit) != 1:
        raise InputError(f"quantity {wanted!r}: expected one of those that all runs have: {said}")
    return fit[0]


def panels(runs: Mapping[str, Run], quantity: str) -> list[Panel]:
    """Two panels, by step and by training time. A run with several seeds has a band from the lowest to the highest.

    Args:
      runs: name in the legend -> run.
      quantity: a quantity that all runs have, from `find`.
    """
    bands = {name: band(run, quantity) for name, run in runs.items()}
    longest = max((float(found.seconds[-1]) for found in bands.values() if len(found.step)), default=0.0)
    unit, size = next(((unit, size) for unit, size in _UNITS if longest >= 3 * size), ("seconds", 1.0))
    by_step, by_time = [], []
    for name, found in bands.items():
        edges = (found.low, found.high) if len(runs[name].seeds) > 1 else (None, None)
        by_step.append(Series(name, found.step, found.median, *edges))
        by_time.append(Series(name, found.seconds / size, found.median, *edges))
    what = label(quantity)
    return [Panel(by_step, "step", what), Panel(by_time, f"training time [{unit}]", what)]


def rows(runs: Mapping[str, Run], quantity: str) -> list[dict[str, Any]]:
    """The points of the curves, as rows for CSV: one for each point of each seed. See `panels` for the arguments."""
    return [
        {"run": name, "seed": seed.seed, "step": step, "seconds": seconds, label(quantity): value}
        for name, run in runs.items()
        for seed in run.seeds
        if quantity in seed.points
        for step, seconds, value in zip(
            *(getattr(seed.points[quantity], field).tolist() for field in ("step", "seconds", "value")), strict=True
        )
    ]


def save(path: Any, runs: Mapping[str, Run], quantity: str) -> None:
    """Draws the panels into a PDF if the file ends in .pdf, else into a PNG.

    Args:
      path: the file to write.
      runs, quantity: as in `panels`.

    Raises:
      MissingExtraError: matplotlib is not installed.
    """
    pictures.panels(path, [panels(runs, quantity)])
