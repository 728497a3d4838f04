"""The study's sheets, of the first seed of a model: samples, levels at zero, and what each level decides."""

from collections.abc import Iterable
from pathlib import Path

from configs.study import SETS
from hcflow_jax import api, pictures
from hcflow_jax.analysis import samples, variation, zeroing

SAMPLES, SHOWN, VARIED = 16, 6, 4  # images of a model on each kind of sheet
SIGMA = 0.8


def draw(workdirs: Path, folder: Path) -> list[Path]:
    """Draws what the workdirs have models for; gives the files."""
    made = {}
    for images in SETS:
        if len(models := _models(workdirs, images, ("a", "glow"))) == 2:
            made[f"study_samples_{images}.png"] = samples.sheet(samples.draw(models, SAMPLES, sigma=SIGMA))
            latents = {name: model.draw(VARIED, sigma=SIGMA) for name, model in models.items()}
            found = {name: variation.variation(model, latents[name]) for name, model in models.items()}
            made[f"study_variation_{images}.png"] = variation.sheet(found)
    if len(models := _models(workdirs, "portraits", "abde")) == 4:
        images = api.held_out(models["a"].config, SHOWN)
        made["study_zeroing.png"] = zeroing.sheet(images, zeroing.of_models(models, images))
    for name, sheet in made.items():
        pictures.save_png(folder / name, sheet)
    return [folder / name for name in made]


def _models(workdirs: Path, images: str, names: Iterable[str]) -> dict[str, api.Model]:
    places = {name: workdirs / f"{images}_{name}-0" for name in names}
    return {name: api.load(place) for name, place in places.items() if (place / "samples.npz").exists()}
