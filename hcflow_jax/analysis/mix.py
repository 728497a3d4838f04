"""Coarse levels of one image with fine levels of another, for all pairs of two sets of images."""

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
    """Images that take each level coarser than `level` from one image, and `level` and the finer ones from another.

    The coarser levels are decoded once.

    Args:
      model: from `api.load`, of any family.
      coarse: latents of the images whose coarser levels are taken, one for each column.
      fine: latents of the images whose finer levels are taken, one for each row.
      level: the coarsest level that is taken from `fine`.

    Raises:
      InputError: the model does not have the level, or the latents are not its.
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
    """The picture: a block for each level; the images themselves are in its first row and its first column.

    Args:
      coarse: (columns, R, R, 3) uint8.
      fine: (rows, R, R, 3) uint8.
      found: by level, from `mix`.
      names: of all levels, coarse to fine, for the titles.
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
