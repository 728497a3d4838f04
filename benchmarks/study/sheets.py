"""The study's sheets: samples, levels at zero, and what each level decides, of one run of each model.

Models on a sheet have the same training seed where there is such a seed: the first. Samples are the first of a seed.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.study.plan import BETTER, COMPARED
from configs.study import SETS
from hcflow_jax import api, checkpoint, pictures
from hcflow_jax.analysis import samples, variation, zeroing

SAMPLES, SHOWN, VARIED = 16, 6, 4  # images of a model on each kind of sheet
SIGMA = 0.8
ZEROED = "abde"  # whose levels are set to zero (Figure 8)
WEIGHTS = Path(__file__).parents[1] / "weights" / "study"  # of these models, so that they outlast their workdirs


def draw(workdirs: Path, folder: Path) -> list[Path]:
    """Draws what the workdirs have models for; gives the files."""
    made = {}
    for images in SETS:
        if len(models := _models(workdirs, images, BETTER)) == 2:
            made[f"study_samples_{images}_better.png"] = samples.sheet(samples.draw(models, SAMPLES, sigma=SIGMA))
        if len(models := _models(workdirs, images, COMPARED)) == 2:
            made[f"study_samples_{images}.png"] = samples.sheet(samples.draw(models, SAMPLES, sigma=SIGMA))
            real = api.held_out(models["a"].config, VARIED)
            found = {name: variation.variation(model, model.encode(real)) for name, model in models.items()}
            made[f"study_variation_{images}.png"] = variation.sheet(found)
    if len(models := _models(workdirs, "portraits", ZEROED)) == len(ZEROED):
        images = api.held_out(models["a"].config, SHOWN)
        made["study_zeroing.png"] = zeroing.sheet(images, zeroing.of_models(models, images))
    for name, sheet in made.items():
        pictures.save_png(folder / name, sheet)
    return [folder / name for name in made]


def _models(workdirs: Path, images: str, names: Iterable[str]) -> dict[str, api.Model]:
    """The models that there are: all of the first seed that all of them have, or else each of its own first seed."""
    places: dict[str, dict[int, Path]] = {}
    for name in names:
        for seed in range(3):
            run = f"{images}_{name}-{seed}"
            if (kept := WEIGHTS / f"{run}.safetensors").exists():  # first, so that every clone draws the same sheet
                places.setdefault(name, {})[seed] = kept
            elif (workdirs / run / "samples.npz").exists():
                places.setdefault(name, {})[seed] = workdirs / run
    shared = set.intersection(*map(set, places.values())) if places else set()
    return {name: api.load(found[min(shared or found)]) for name, found in places.items()}


def keep(run: str, model: api.Model) -> None:
    """Keeps the parameters of a run in half precision, if a sheet needs them."""
    images, _, name = run.split("-")[0].partition("_")
    if images == "portraits" and name in ZEROED:
        about = {"run": run, "step": int(model.config.train.num_steps)}
        WEIGHTS.mkdir(parents=True, exist_ok=True)
        checkpoint.save_file(WEIGHTS / f"{run}.safetensors", model.params, model.config, about, np.float16)
