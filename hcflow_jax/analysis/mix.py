"""Mixes images: coarse levels of one image with fine levels of another, for all pairs from two sets."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from hcflow_jax import api, pictures
from hcflow_jax.api.arguments import are_latents, known_level
from hcflow_jax.api.images import Images
from hcflow_jax.pictures import Block, Sheet

_WHITE = 255


def mix(
    model: api.Model, coarse: api.Latents, fine: api.Latents, level: str
) -> UInt8[np.ndarray, "rows columns R R 3"]:
    """Makes images from the levels of two images: those coarser than `level` from one, the others from the other.

    The coarser levels are decoded once.

    Args:
      model: from `api.load`, of any family.
      coarse: latents of the images that give the coarser levels, one for each column.
      fine: latents of the images that give `level` and the finer levels, one for each row.
      level: the coarsest level that is taken from `fine`.

    Returns:
      (rows, columns, R, R, 3), uint8.

    Raises:
      InputError: the model does not have the level, or the latents are not this model's.
    """
    known_level(model.image_model, level)
    columns, rows = len(are_latents(coarse, "coarse")), len(are_latents(fine, "fine"))
    decoded = model.decode_coarse(coarse, level)
    return np.stack([model.decode_from(decoded, fine[np.full(columns, i)]) for i in range(rows)])


def sheet(
    coarse: Images,
    fine: Images,
    found: Mapping[str, UInt8[np.ndarray, "rows columns R R 3"]],
    names: Sequence[str],
) -> Sheet:
    """A sheet with a block for each level. The first row and the first column show the original images.

    Args:
      coarse: the images of `coarse`, (columns, R, R, 3) uint8.
      fine: the images of `fine`, (rows, R, R, 3) uint8.
      found: level -> images from `mix`.
      names: the names of all levels, coarse to fine, for the titles.
    """
    (scale,) = pictures.scales([coarse.shape[1]])
    corner = np.full((1, *coarse.shape[1:]), _WHITE, np.uint8)
    parts = []
    for level, mixed in found.items():
        rows = [("", np.concatenate([corner, coarse]))]
        rows += [("", np.concatenate([fine[i : i + 1], row])) for i, row in enumerate(mixed)]
        at = names.index(level)
        title = f"columns give {_listed(names[:at])}; rows give {_listed(names[at:])}"
        parts.append(Block(title, rows, scale=scale))
    return pictures.blocks(parts)


def _listed(names: Sequence[str]) -> str:
    return f"level{'s' * (len(names) > 1)} {', '.join(names)}"
