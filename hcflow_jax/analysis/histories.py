"""Reads the training curves of runs, from a workdir or from a reference that comes with the package.

A reference is a run to compare other runs with: a config and the curves of one or more seeds. It is the file
`hcflow_jax/references/NAME.json`; `python -m benchmarks.reference` makes it.
"""

import datetime
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from hcflow_jax import buckets, paths
from hcflow_jax import config as schema
from hcflow_jax.analysis.points import EVAL, MEASURE, TRAIN, Points, Run, Seed
from hcflow_jax.checkpoint import about
from hcflow_jax.config import fields
from hcflow_jax.errors import InputError
from hcflow_jax.layout import CONFIG, HISTORY, RESULT
from hcflow_jax.paths import Place

REFERENCES = Path(__file__).resolve().parents[1] / "references"

_FORMAT = 1
_BOUNDS = ("bits_per_dim", "loss")
_COUNTS = ("train.batch_size", "train.num_steps", "train.log_every")  # of the config, which curves need
_DISTANCE = re.compile(r"fid|kid|frechet_(?!.*_floor$).+")


def read_run(workdir: Place) -> Run:
    """Reads the run of a workdir. The run may still be training: an incomplete last line is skipped.

    Raises:
      InputError: the folder is not a workdir, its config is unknown or is not one, or no finite loss is logged yet.
      ConfigError: the model family of the config is not registered.
    """
    file = workdir / HISTORY
    if not file.exists():
        what = f"no {HISTORY} in it" if buckets.is_folder(workdir) else "no such folder"
        what = "a file, not a folder" if what == "no such folder" and workdir.exists() else what
        raise InputError(f"{workdir}: {what}; give the workdir of a run")
    try:
        told = about.read(workdir)
    except (AttributeError, TypeError):  # a value where a group of fields should be
        raise InputError(f"{workdir / CONFIG}: is not a config of this package") from None
    if told.config is None:
        raise InputError(
            f"{workdir}: its config is unknown (no {CONFIG}, no checkpoint); wait for its first checkpoint, or put "
            f"its {CONFIG} back"
        )
    for path in _COUNTS:
        value = fields.value(told.config, path)
        if not isinstance(value, int) or value < 1:
            raise InputError(f"{workdir}: {path} in its config must be a whole number above 0, not {value!r}")
    found = _in_order(rows(file, ("step", "seconds")))
    seed = Seed(
        int(told.config.seed),
        _points(found),
        _rate(found),
        int(max((row["step"] for row in found), default=0)),
        _not_finite_since(found),
        _about(workdir, file, told.metadata),
    )
    if not any(name.startswith(f"{TRAIN}/") for name in seed.points):
        if seed.not_finite_since is not None:
            raise InputError(f"{file}: no loss in it is finite; training has diverged from its first steps on")
        raise InputError(f"{file}: no training step is logged yet; a row is written every train.log_every steps")
    data, step, images = (told.metadata.get(name) for name in ("data", "step", "next_index"))
    return Run(
        str(workdir),
        told.config,
        data if data and "identity" in data else None,
        (seed,),
        used=(step, images) if isinstance(step, int) and isinstance(images, int) else None,
    )


def rows(file: Place, numbers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the rows of a history. Lines that are not complete rows are skipped.

    Args:
      file: the `history.jsonl` of a workdir. It exists.
      numbers: the names of numbers that each row must have, besides its "kind".
    """
    for line in file.read_bytes().decode(errors="replace").splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and "kind" in row and all(_is_number(row.get(name)) for name in numbers):
                yield row


def names() -> tuple[str, ...]:
    """The names of the references that come with the package."""
    return tuple(sorted(path.stem for path in REFERENCES.glob("*.json")))


def reference(name: str) -> Run:
    """Reads a reference that comes with the package.

    Raises:
      KeyError: no reference has this name.
    """
    if name not in names():
        raise KeyError(name)
    return from_plain(json.loads((REFERENCES / f"{name}.json").read_text()))


def find(given: str) -> Run:
    """Reads a reference by its name, or else the run of a workdir.

    A reference comes first. To read a folder of the same name, give ./NAME.

    Raises:
      InputError: there is no such reference or folder; the message lists the references. Or as in `read_run`.
      ConfigError: as in `read_run`.
    """
    if given in names():
        return reference(given)
    path = paths.place(given)
    with buckets.named_errors(path):
        if not path.exists():
            known = ", ".join(names())
            raise InputError(f"{given}: no reference has this name ({known}), and there is no such folder")
        return read_run(path)


def to_plain(run: Run) -> dict[str, Any]:
    """A run as plain values for JSON. Numbers are rounded: times to 0.1 s, values to 4 decimals."""

    def columns(points: Points) -> dict[str, list[float]]:
        digits = {"step": 1, "seconds": 1, "value": 4, "rows": 0}
        return {name: np.round(getattr(points, name), n).tolist() for name, n in digits.items()}

    seeds = [
        {
            "seed": seed.seed,
            **seed.about,
            "images_per_second": None if seed.images_per_second is None else round(seed.images_per_second, 3),
            "points": {name: columns(points) for name, points in seed.points.items()},
        }
        for seed in run.seeds
    ]
    config = schema.config_to_plain(run.config)
    return {
        "format": _FORMAT,
        "name": run.name,
        **run.about,
        "images": run.images,
        "config": config,
        "edges": list(run.edges),
        "seeds": seeds,
    }


def from_plain(plain: Mapping[str, Any]) -> Run:
    """The run from the plain values of `to_plain`."""
    seeds = []
    for given in plain["seeds"]:
        points = {
            name: Points(*(np.array(columns[part], float) for part in ("step", "seconds", "value", "rows")))
            for name, columns in given["points"].items()
        }
        rest = {name: given[name] for name in given if name not in ("seed", "points", "images_per_second")}
        end = int(plain["edges"][-1]) if plain["edges"] else 0
        seeds.append(Seed(given["seed"], points, given["images_per_second"], end, about=rest))
    own = ("format", "name", "images", "config", "edges", "seeds")
    return Run(
        plain["name"],
        schema.config_from_plain(plain["config"]),
        plain["images"],
        tuple(seeds),
        tuple(plain["edges"]),
        about={name: value for name, value in plain.items() if name not in own},
    )


def _is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _in_order(rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in order of step. Of several rows of one kind and step, the last in the file counts.

    A clock that starts anew, because a part of the history was lost, goes on from the time before.
    """
    last = {(row["kind"], row["step"], row.get("count")): row for row in rows}
    found, before, now = [], 0.0, 0.0
    for row in sorted(last.values(), key=lambda row: (row["step"], row["seconds"])):
        before += now if row["seconds"] < now else 0.0
        now = row["seconds"]
        found.append({**row, "seconds": before + now})
    return found


def _points(rows: Sequence[Mapping[str, Any]]) -> dict[str, Points]:
    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        kind = row["kind"]
        for name, value in row.items() if kind in (TRAIN, EVAL, MEASURE) else ():
            wanted = _DISTANCE.fullmatch(name) if kind == MEASURE else name in _BOUNDS
            if wanted and _is_number(value):
                key = f"{kind}/{name} of {row['count']}" if kind == MEASURE and "count" in row else f"{kind}/{name}"
                found.setdefault(key, []).append((row["step"], row["seconds"], value))
    return {name: Points.of(points) for name, points in found.items()}


def _not_finite_since(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The first of the last steps at which nothing of the bound is finite; None if it is finite at the end."""
    since = None
    for row in rows:
        if row["kind"] in (TRAIN, EVAL):
            finite = any(_is_number(row.get(name)) for name in _BOUNDS)
            since = None if finite else int(row["step"]) if since is None else since
    return since


def _rate(rows: Sequence[Mapping[str, Any]]) -> float | None:
    rates = [row.get("images_per_second") for row in rows if row["kind"] == TRAIN]
    rates = [rate for rate in rates if _is_number(rate) and rate > 0]
    return float(np.median(rates)) if rates else None


def _about(workdir: Place, history: Place, metadata: Mapping[str, Any]) -> dict[str, Any]:
    changed = history.stat().st_mtime if isinstance(history, Path) else history.stat().mtime
    found: dict[str, Any] = {"date": str(datetime.date.fromtimestamp(changed))}
    with suppress(OSError, ValueError):
        found["device"] = json.loads((workdir / RESULT).read_text()).get("device")
    return found | ({"versions": metadata["versions"]} if "versions" in metadata else {})
