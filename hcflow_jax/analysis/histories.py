"""Reads the training curves of runs, from a workdir or from a reference that comes with the package.

A reference is a run to compare other runs with: a config and the curves of one or more seeds. It is the file
`hcflow_jax/references/NAME.json`; `python -m benchmarks.reference` makes it.
"""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from hcflow_jax import buckets, paths
from hcflow_jax import config as schema
from hcflow_jax.checkpoint import about
from hcflow_jax.errors import InputError
from hcflow_jax.layout import CONFIG, HISTORY, RESULT
from hcflow_jax.paths import Place

TRAIN, EVAL, MEASURE = "train", "eval", "measure"  # kinds of rows; the first part of a quantity's name
REFERENCES = Path(__file__).resolve().parents[1] / "references"

_FORMAT = 1
_BOUNDS = ("bits_per_dim", "loss")
_DISTANCE = re.compile(r"fid|kid|frechet_(?!.*_floor$).+")


@dataclasses.dataclass(frozen=True)
class Points:
    """The values of a quantity at n steps of one run, in order of step.

    Attributes:
      step: the number of steps done.
      seconds: the seconds of training until then, over all resumptions of the run. Compiling, evaluating, sampling
        and saving do not count.
      value: the value of the quantity.
      rows: the number of rows of the history that were averaged.
    """

    step: Float[np.ndarray, " n"]
    seconds: Float[np.ndarray, " n"]
    value: Float[np.ndarray, " n"]
    rows: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.step)

    @classmethod
    def of(cls, rows: Sequence[tuple[float, float, float]]) -> "Points":
        """Points from rows (step, seconds, value), one row for each point."""
        step, seconds, value = np.array(rows, float).reshape(-1, 3).T
        return cls(step, seconds, value, np.ones(len(rows)))

    def after(self, step: float) -> "Points":
        """The points after a step."""
        return Points(*(getattr(self, field.name)[self.step > step] for field in dataclasses.fields(self)))

    def windowed(self, edges: Sequence[float]) -> "Points":
        """Means over windows of steps (edges[i], edges[i + 1]]. Windows without points are left out."""
        at = np.searchsorted(edges, self.step)  # 0: not after the first edge
        parts = [np.flatnonzero(at == i) for i in range(1, len(edges))]
        parts = [part for part in parts if len(part)]

        def mean(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
            return np.array([np.average(values[part], weights=self.rows[part]) for part in parts])

        return Points(
            mean(self.step),
            mean(self.seconds),
            mean(self.value),
            np.array([self.rows[part].sum() for part in parts], float),
        )


@dataclasses.dataclass(frozen=True)
class Seed:
    """One training run of a config.

    Attributes:
      seed: the seed of the config.
      points: the points by quantity: "train/bits_per_dim", "eval/loss", "measure/fid of 2000" (samples), ...
      images_per_second: the median over the training rows; None if no row states it.
      about: information for people: `date`, `device`, `versions`.
    """

    seed: int
    points: Mapping[str, Points]
    images_per_second: float | None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def clock(self) -> Points:
        """The points of some training quantity. They give the seconds of training at each step."""
        return next(points for name, points in self.points.items() if name.startswith(TRAIN))

    @property
    def last_step(self) -> int:
        """The last step that has a point."""
        return int(max((points.step[-1] for points in self.points.values() if len(points)), default=0))


@dataclasses.dataclass(frozen=True)
class Run:
    """A config and its training curves, for one or more seeds.

    Attributes:
      name: the name of the workdir or of the reference, for messages.
      config: the whole config, locked; its seed is that of the first of `seeds`.
      images: the training set, as in a checkpoint's metadata: `name`, `count`, `identity`; None if it is not known.
      seeds: at least one training run.
      edges: the windows over which training rows were averaged; empty if they were not averaged.
      about: information for people: `command` and `note` of a reference.
    """

    name: str
    config: ConfigDict
    images: Mapping[str, Any] | None
    seeds: tuple[Seed, ...]
    edges: tuple[float, ...] = ()
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        """The number of images in a step."""
        return int(self.config.train.batch_size)

    @property
    def last_step(self) -> int:
        """The last step of any seed."""
        return max(seed.last_step for seed in self.seeds)

    @property
    def fastest(self) -> Seed:
        """The seed with the most steps per second. On a shared machine, it was disturbed least."""
        return max(self.seeds, key=lambda seed: seed.clock.step[-1] / max(seed.clock.seconds[-1], 1e-9))

    def windowed(self, edges: tuple[float, ...]) -> "Run":
        """The run with its training rows averaged over windows of steps, see `Points.windowed`."""
        seeds = [
            dataclasses.replace(
                seed,
                points={
                    name: points.windowed(edges) if name.startswith(f"{TRAIN}/") else points
                    for name, points in seed.points.items()
                },
            )
            for seed in self.seeds
        ]
        return dataclasses.replace(self, seeds=tuple(seeds), edges=edges)


def read_run(workdir: Place) -> Run:
    """Reads the run of a workdir. The run may still be training: an incomplete last line is skipped.

    Raises:
      InputError: the folder is not a workdir, its config is unknown, or no training step is logged yet.
      ConfigError: the model family of the config is not registered.
    """
    file = workdir / HISTORY
    if not workdir.is_dir():
        raise InputError(f"{workdir}: no such folder; give the workdir of a run")
    if not file.exists():
        raise InputError(f"{workdir}: no {HISTORY} in it; give the workdir of a run")
    told = about.read(workdir)
    if told.config is None:
        raise InputError(
            f"{workdir}: its config is unknown (no {CONFIG}, no checkpoint); wait for its first checkpoint"
        )
    rows = list(_rows(file.read_text()))
    seed = Seed(int(told.config.seed), _points(rows), _rate(rows), _about(workdir, file, told.metadata))
    if not any(name.startswith(f"{TRAIN}/") for name in seed.points):
        raise InputError(f"{file}: no training step is logged yet; a row is written every train.log_every steps")
    return Run(str(workdir), told.config, told.metadata.get("data"), (seed,))


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
        seeds.append(Seed(given["seed"], points, given["images_per_second"], rest))
    own = ("format", "name", "images", "config", "edges", "seeds")
    return Run(
        plain["name"],
        schema.config_from_plain(plain["config"]),
        plain["images"],
        tuple(seeds),
        tuple(plain["edges"]),
        {name: value for name, value in plain.items() if name not in own},
    )


def _rows(text: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a history. Lines that are not complete rows are skipped."""
    for line in text.splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and {"step", "kind", "seconds"} <= row.keys():
                yield row


def _points(rows: Sequence[Mapping[str, Any]]) -> dict[str, Points]:
    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows:
        kind = row["kind"]
        for name, value in row.items() if kind in (TRAIN, EVAL, MEASURE) else ():
            wanted = _DISTANCE.fullmatch(name) if kind == MEASURE else name in _BOUNDS
            if wanted and isinstance(value, int | float):
                key = f"{kind}/{name} of {row['count']}" if kind == MEASURE and "count" in row else f"{kind}/{name}"
                found.setdefault(key, []).append((row["step"], row["seconds"], value))
    return {name: Points.of(sorted(points)) for name, points in found.items()}


def _rate(rows: Sequence[Mapping[str, Any]]) -> float | None:
    rates = [row["images_per_second"] for row in rows if row["kind"] == TRAIN and row.get("images_per_second")]
    return float(np.median(rates)) if rates else None


def _about(workdir: Place, history: Place, metadata: Mapping[str, Any]) -> dict[str, Any]:
    changed = history.stat().st_mtime if isinstance(history, Path) else history.stat().mtime
    found: dict[str, Any] = {"date": str(datetime.date.fromtimestamp(changed))}
    with suppress(OSError, ValueError):
        found["device"] = json.loads((workdir / RESULT).read_text()).get("device")
    return found | ({"versions": metadata["versions"]} if "versions" in metadata else {})
