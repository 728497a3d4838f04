"""Which runs the study is made of, as data."""

from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.config import presets

CURVE_POINTS = 4  # times in a run at which samples are compared with the reals


@dataclass(frozen=True)
class Run:
    """A run of the study.

    Attributes:
      config: what follows the colon in `--config=configs/study.py:...`.
      seed: of training.
      samples: that are compared with the reals in the end.
    """

    config: str
    seed: int = 0
    samples: int = 5_000

    @property
    def name(self) -> str:
        """Of the run's files: "portraits_a-0"."""
        return f"{self.config}-{self.seed}"

    @property
    def arguments(self) -> list[str]:
        """What the training command takes, but for the workdir."""
        return [f"--config=configs/study.py:{self.config}", f"--config.seed={self.seed}"]

    def resolved(self) -> ConfigDict:
        """The run's config."""
        config = presets.config(f"study:{self.config}")
        config.seed = self.seed
        return config


def _seeds(config: str, count: int, first: int = 0, **how: Any) -> tuple[Run, ...]:
    return tuple(Run(config, seed, **how) for seed in range(first, first + count))


# In the order in which they are made: the first seed of what the paper compares comes before the spread of any.
EQUAL = (
    *(
        run
        for seed in range(3)
        for name in ("a", "glow")
        for run in _seeds(f"portraits_{name}", 1, seed, samples=10_000)
    ),
    *(
        run
        for seed in range(2)
        for name in ("a", "glow")
        for run in _seeds(f"landscapes_{name}", 1, seed, samples=10_000)
    ),
)
ABLATIONS = tuple(run for letter in "bcdefgh" for run in _seeds(f"portraits_{letter}", 1))
BEYOND = _seeds("portraits_noise", 2)

RUNS = (*EQUAL[:2], *ABLATIONS, *EQUAL[2:], *BEYOND)


def find(names: list[str]) -> tuple[Run, ...]:
    """The runs of some names, or of all that begin with one of them; all runs if there are no names.

    Raises:
      SystemExit: naming one that fits no run.
    """
    for name in names:
        if not any(run.name.startswith(name) for run in RUNS):
            raise SystemExit(f"{name}: no run begins so; there are {', '.join(run.name for run in RUNS)}")
    return tuple(run for run in RUNS if not names or any(run.name.startswith(name) for name in names))
