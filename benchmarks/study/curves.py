"""The study's curves, in Figure 7's form: the distance of samples to the reals during training."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks.study import tables
from configs.study import SETS
from hcflow_jax import pictures


def draw(folder: Path) -> list[Path]:
    """Draws A to H on portraits, and A beside Glow on each set of which there are runs; gives the files."""
    made = [_curves(folder / "study_ablations.png", "portraits", "abcdefgh", "Ablations on portraits")]
    for images in SETS:
        path, title = folder / f"study_{images}.png", f"The paper's model and Glow on {images}"
        made.append(_curves(path, images, ("a", "glow", "noise"), title))
    return [path for path in made if path is not None]


def _curves(path: Path, images: str, models: Iterable[str], title: str) -> Path | None:
    """One line for each run: minutes of training steps, and the Frechet distance of 2,000 samples."""
    metric, series = f"frechet_{SETS[images]}", {}
    for run, found in tables.finished().items():
        measured = [row for row in found["training"]["history"] if row["kind"] == "measure"]
        if run.config in [f"{images}_{model}" for model in models] and measured:
            label = f"{run.config.rpartition('_')[2]}, seed {run.seed}"
            series[label] = ([row["seconds"] / 60 for row in measured], [row[metric] for row in measured])
    if not series:
        return None
    label = "Frechet distance of attribute features, 2,000 samples"
    pictures.curve(path, series, title, "minutes of training steps", label)
    return path
