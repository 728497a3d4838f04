"""`result.json`: the results of a run, for other programs."""

import json
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from hcflow_jax.layout import RESULT
from hcflow_jax.training.groups import RateGroups, count_by_group
from hcflow_jax.training.metrics import Clock, History

_OF_PROCESS = ("resumed_from", "seconds", "steps_per_second", "images_per_second", "device")
_KINDS = ("compiling", "initialising", "training", "waiting", "evaluating", "sampling", "saving")


def describe(
    workdir: Path,
    config: ConfigDict,
    history: History,
    clock: Clock,
    params: Any,
    rate_groups: RateGroups,
    *,
    start: int,
    images: int,
) -> dict[str, Any]:
    """The contents of `result.json`. Seconds and speeds are those of the process that took the last step.

    Args:
      workdir: the folder of the run. If this process took no step, the values of the last process are read there.
      config: the whole config.
      history: the history of the run, with the bounds at the start and at the end.
      clock: the clock of the run.
      params: the parameters or their shapes; they are counted.
      rate_groups: the rate groups of the model.
      start: the step at which this process started.
      images: the number of images of the data order that the whole run used.
    """
    train = config.train
    seconds = {kind: round(clock.seconds(kind), 3) for kind in _KINDS}
    steps, spent = train.num_steps - start, seconds["training"] + seconds["waiting"]
    rate = steps / spent if spent > 0 else 0.0
    made = {
        "steps": train.num_steps,
        "images": images,
        "resumed_from": start or None,
        "parameters": count_by_group(params, rate_groups),
        "start": _bound(history, 0),
        "end": _bound(history, train.num_steps),
        "seconds": {**seconds, "total": round(sum(seconds.values()), 3)},
        "steps_per_second": rate,
        "images_per_second": rate * train.batch_size,
        "device": jax.devices()[0].device_kind,
    }
    return made | (_of_last_process(workdir, start) if start == train.num_steps else {})


def _of_last_process(workdir: Path, steps: int) -> dict[str, Any]:
    """The values of the process that wrote `result.json` after so many steps; empty if there are none."""
    try:
        found = json.loads((workdir / RESULT).read_text())
        return {name: found[name] for name in _OF_PROCESS} if found["steps"] == steps else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _bound(history: History, step: int) -> dict[str, Any] | None:
    """The last bound of a step, from `Bound.as_dict`; None if there is none."""
    rows = history.of("eval", step)
    if not rows:
        return None
    names = ("bits_per_dim", "standard_error", "loss", "images")
    by_level = {name.removeprefix("bits/"): bits for name, bits in rows[-1].items() if name.startswith("bits/")}
    return {name: rows[-1][name] for name in names} | {"by_level": by_level}
