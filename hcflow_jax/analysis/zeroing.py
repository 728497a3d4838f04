"""Shows what each level of a model adds: images are decoded with more and more levels at zero (Figures 6 and 8)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hcflow_jax import api, pictures
from hcflow_jax.analysis.measured import Mean, Tell, mean
from hcflow_jax.api.images import Images
from hcflow_jax.errors import InputError
from hcflow_jax.pictures import Block, Sheet

Labelled = Sequence[tuple[str, Images]]


def cumulative_zeroing(model: api.Model, latents: api.Latents) -> Iterator[tuple[str, Images]]:
    """Decodes images with the finest level at zero, then with the two finest levels at zero, and so on up to all.

    Args:
      model: from `api.load`.
      latents: the latents of n images.

    Yields:
      A label and images, (n, R, R, 3) uint8: one pair for each level.
    """
    names = model.level_names
    for kept in range(len(names) - 1, -1, -1):
        label = "all = 0" if kept == 0 else f"z_{names[kept]} = 0" + ("" if kept == len(names) - 1 else " too")
        yield label, model.decode(model.zero(latents, names[kept:]))


def of_models(
    models: Mapping[str, api.Model], images: Images, tell: Tell = lambda *news: None
) -> dict[str, list[tuple[str, Images]]]:
    """Applies `cumulative_zeroing` to the same images with several models.

    Args:
      models: name -> model, of any families, all with one resolution R.
      images: (n, R, R, 3), uint8.
      tell: is called with "zeroing", the models done, and their number.

    Returns:
      Name of the model -> (label, images) pairs of `cumulative_zeroing`.

    Raises:
      InputError: there is no model, the models have different resolutions, or the images have another shape or dtype.
    """
    sizes = {name: model.resolution for name, model in models.items()}
    if len(set(sizes.values())) != 1:
        said = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "none"
        raise InputError(f"models: expected at least one model, and one resolution for all; got {said}")
    found = {}
    for name, model in models.items():
        found[name] = list(cumulative_zeroing(model, model.encode(images)))
        tell("zeroing", len(found), len(models))
    return found


def changes(images: Images, rows: Labelled) -> dict[str, Mean]:
    """Measures how far images with levels at zero are from the original images.

    Args:
      images: (n, R, R, 3), uint8.
      rows: (label, images) pairs of `cumulative_zeroing`.

    Returns:
      Label -> root mean square difference of the values of an image, in 8-bit levels, averaged over images.
    """
    original = np.asarray(images, np.float64)
    return {label: mean(np.sqrt(((original - zeroed) ** 2).mean((1, 2, 3)))) for label, zeroed in rows}


def sheet(images: Images, found: Mapping[str, Labelled]) -> Sheet:
    """A sheet with a block for each model: the original images in the first row, then one row for each level.

    Args:
      images: (n, R, R, 3), uint8. Each has a column.
      found: from `of_models`.
    """
    (scale,) = pictures.scales([images.shape[1]])
    return pictures.blocks([Block(name, [("original", images), *rows], scale=scale) for name, rows in found.items()])
