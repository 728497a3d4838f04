"""Which runs the study is made of, as data."""

from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.config import presets

COMPARED = ("a", "glow")  # what the paper compares at equal time
BETTER = tuple(f"{model}_better" for model in COMPARED)  # the same with better recipes
CURVE_POINTS = 4  # times in a run at which samples are compared with the reals


@dataclass(frozen=True)
class Run:
    """A run of the study.

    Attributes:
      config: what follows the colon in `--config=configs/study.py:...`.
      seed: of training.
      samples: that are compared with the reals in the end.
      claims: whether what the paper claims besides distances is measured, too (`claims`).
      tuned: whether the temperature of each level is tuned, too, and samples are measured at these.
      overrides: (field, value) of the config that differ.
      label: what the run's files are called; empty: the config and the seed.
    """

    config: str
    seed: int = 0
    samples: int = 5_000
    claims: bool = False
    tuned: bool = False
    overrides: tuple[tuple[str, Any], ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        """Of the run's files: "portraits_a-0"."""
        return self.label or f"{self.config}-{self.seed}"

    @property
    def arguments(self) -> list[str]:
        """What the training command takes, but for the workdir."""
        given = [f"--config.{field}={value}" for field, value in self.overrides]
        return [f"--config=configs/study.py:{self.config}", f"--config.seed={self.seed}", *given]

    def resolved(self) -> ConfigDict:
        """The run's config."""
        config = presets.config(f"study:{self.config}")
        config.seed = self.seed
        config.update_from_flattened_dict(dict(self.overrides))
        return config


def _run(config: str, seed: int) -> Run:
    images, _, model = config.partition("_")
    is_compared = model in (*COMPARED, *BETTER)
    return Run(
        config,
        seed,
        samples=10_000 if is_compared else 5_000,
        claims=is_compared,
        tuned=images == "portraits" and model in ("a", "noise") and seed < 2,
    )


# In the order in which they are made: the first seed of everything comes before the spread of anything.
RUNS = tuple(
    _run(*which)
    for which in (
        ("portraits_a", 0),
        ("portraits_glow", 0),
        ("landscapes_a", 0),
        ("landscapes_glow", 0),
        *((f"portraits_{letter}", 0) for letter in "bcdefgh"),
        ("portraits_noise", 0),
        *((f"portraits_{model}", 1) for model in ("a", "glow")),
        *((f"landscapes_{model}", 1) for model in ("a", "glow")),
        ("portraits_noise", 1),
        *((f"portraits_{model}", 2) for model in ("a", "glow")),
        *(("portraits_e", seed) for seed in (1, 2)),  # the ablation whose samples are nearest to the reals
        *((f"{images}_{model}", 0) for images in ("portraits", "landscapes") for model in BETTER),
        *((f"portraits_{model}", seed) for seed in (1, 2) for model in BETTER),
        *((f"landscapes_{model}", 1) for model in BETTER),
    )
)


def find(names: list[str], runs: tuple[Run, ...] = RUNS) -> tuple[Run, ...]:
    """The runs that are named, in the order of `runs`; all if there are no names.

    A name is that of a run, or else that of a config ("portraits_a", all its seeds), or else how names begin.

    Raises:
      SystemExit: naming one that fits no run.
    """
    chosen: list[Run] = []
    for name in names:
        fits = [run for run in runs if run.name == name] or [
            run for run in runs if run.config == name and not run.label
        ]
        fits = fits or [run for run in runs if run.name.startswith(name)]
        if not fits:
            raise SystemExit(f"{name}: no run begins so; there are {', '.join(run.name for run in runs)}")
        chosen += fits
    return tuple(run for run in runs if not names or run in chosen)
