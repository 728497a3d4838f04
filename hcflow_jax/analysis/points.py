"""The training curves of runs, as data.

Times are seconds of training. The values are bits/dim, the loss of training (Eq. N), or distances between samples and
real images.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

TRAIN, EVAL, MEASURE = "train", "eval", "measure"  # kinds of rows; the first part of a quantity's name


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
        cuts = np.searchsorted(self.step, edges, side="right").tolist()
        parts = [slice(start, end) for start, end in itertools.pairwise(cuts) if end > start]

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
      end: the last step of the history, also if it has no finite value there.
      not_finite_since: the step from which on no loss is finite; None if the newest loss is finite.
      about: information for people: `date`, `device`, `versions`.
    """

    seed: int
    points: Mapping[str, Points]
    images_per_second: float | None
    end: int = 0
    not_finite_since: int | None = None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def clock(self) -> Points:
        """The points of some training quantity. They give the seconds of training at each step."""
        return next(points for name, points in self.points.items() if name.startswith(TRAIN))

    @property
    def last_step(self) -> int:
        """The last step of the history, or the last that has a point."""
        return int(max([self.end, *(points.step[-1] for points in self.points.values() if len(points))]))


@dataclasses.dataclass(frozen=True)
class Run:
    """A config and its training curves, for one or more seeds.

    Attributes:
      name: the name of the workdir or of the reference, for messages.
      config: the whole config, locked; its seed is that of the first of `seeds`.
      images: the training set, as in a checkpoint's metadata: `name`, `count`, `identity`; None if it is not known.
      seeds: at least one training run.
      edges: the windows over which training rows were averaged; empty if they were not averaged.
      used: the step of the newest checkpoint, and the images that training had used then; None if it is not known.
      about: information for people: `command` and `note` of a reference.
    """

    name: str
    config: ConfigDict
    images: Mapping[str, Any] | None
    seeds: tuple[Seed, ...]
    edges: tuple[float, ...] = ()
    used: tuple[int, int] | None = None
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        """The number of images in a step; in the last steps, if it has changed."""
        return int(self.config.train.batch_size)

    @property
    def changed_batch(self) -> bool:
        """Whether the batch size changed during the run."""
        return self.used is not None and self.used[1] != self.used[0] * self.batch_size

    @property
    def last_images(self) -> int:
        """The number of images that training had used at the last step."""
        step, images = self.used or (0, 0)
        return images + (self.last_step - step) * self.batch_size

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
