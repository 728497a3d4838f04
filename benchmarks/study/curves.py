"""The study's curves, in Figure 7's form: the distance of samples to the reals during training."""

from collections.abc import Iterable
from pathlib import Path

from benchmarks.study import tables
from benchmarks.study.plan import BETTER, COMPARED
from configs.study import SETS, STEPS
from hcflow_jax import pictures
from hcflow_jax.pictures import Panel, Series


def draw(folder: Path) -> list[Path]:
    """Draws the ablations on portraits, and A beside Glow on each set, of what there are runs; gives the files."""
    made = {
        "study_ablations.png": [
            _panel("portraits", "abcdef", "Ablations A to F"),
            _panel("portraits", "agh", "A, G and H"),
        ],
        "study_glow.png": [_panel(images, COMPARED, f"A and Glow, {images}") for images in SETS],
        "study_better.png": [_panel(images, (*COMPARED, *BETTER), f"Better recipes, {images}") for images in SETS],
    }
    drawn = {folder / name: [panel for panel in row if panel.series] for name, row in made.items()}
    drawn = {path: row for path, row in drawn.items() if row}
    for path, row in drawn.items():
        pictures.panels(path, [row])
    return list(drawn)


def _panel(images: str, models: Iterable[str], title: str) -> Panel:
    """A line for each run, in its model's colour: the share of its training, and the distance of 2,000 samples.

    All runs have as many steps as fit into the same time (`costs`). Their seconds are not drawn, because the machine
    had other work beside some of them.
    """
    series = []
    for model in models:
        for run, found in tables.finished().items():
            rows = [row for row in found["training"]["history"] if row["kind"] == "measure"]
            if run.config == f"{images}_{model}" and rows:
                shares = [100 * row["step"] / STEPS[model] for row in rows]
                series.append(Series(model, shares, [row[f"frechet_{SETS[images]}"] for row in rows]))
    label = "Frechet distance of attribute features, 2,000 samples"
    return Panel(series, "training time, % (the same time for all)", label, title)
