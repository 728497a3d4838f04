"""Interpolations: rows of images between two images, and grids of images between four corners."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from hcflow_jax import api, pictures
from hcflow_jax.api.arguments import are_latents, whole
from hcflow_jax.api.images import Images
from hcflow_jax.api.latents import concatenate
from hcflow_jax.errors import InputError
from hcflow_jax.pictures import Block, Sheet

How = Literal["linear", "spherical"]


def rows(
    model: api.Model, a: api.Latents, b: api.Latents, count: int, how: How = "linear", space: str = "z"
) -> UInt8[np.ndarray, "n k R R 3"]:
    """For each of n pairs, k images that interpolate from one to the other, with both ends.

    Args:
      model: from `api.load`.
      a, b: latents of n images each.
      count: k, 2 or more.
      how, space: as in `Model.blend`.

    Returns:
      (n, k, R, R, 3), uint8.

    Raises:
      InputError: an argument is not allowed; the message names it.
    """
    count = whole("count", count, 2, what="2 or more: a row has its two ends")
    ways = [model.blend(a, b, weight, how, space) for weight in np.linspace(0, 1, count).tolist()]
    images = model.decode(concatenate(ways))
    return images.reshape(count, len(a), *images.shape[1:]).swapaxes(0, 1)


def grid(
    model: api.Model, corners: api.Latents, count: int, how: How = "linear", space: str = "z"
) -> UInt8[np.ndarray, "k k R R 3"]:
    """k by k images that interpolate between four images.

    The left and the right side are interpolated first, from top to bottom. Then each row is interpolated from left to
    right. With how="spherical", the other order would give slightly different images.

    Args:
      model: from `api.load`.
      corners: latents of four images: upper left, upper right, lower left, lower right.
      count: k, 2 or more.
      how, space: as in `Model.blend`.

    Returns:
      (k, k, R, R, 3), uint8: by row, then by column.

    Raises:
      InputError: there are not four corners, or another argument is not allowed.
    """
    count = whole("count", count, 2, what="2 or more: a grid has its corners")
    if len(are_latents(corners, "corners")) != 4:
        raise InputError(f"corners are latents of {len(corners)} images: give those of four")
    weights = np.linspace(0, 1, count).tolist()
    top, bottom = corners[[0, 1]], corners[[2, 3]]
    sides = [model.blend(top, bottom, weight, how, space) for weight in weights]
    left, right = (concatenate([each[i : i + 1] for each in sides]) for i in (0, 1))
    columns = [model.blend(left, right, weight, how, space) for weight in weights]
    images = model.decode(concatenate(columns))
    return images.reshape(count, count, *images.shape[1:]).swapaxes(0, 1)


def sheet_of_rows(found: Mapping[str, UInt8[np.ndarray, "n k R R 3"]], labels: Sequence[str]) -> Sheet:
    """A sheet with a block for each entry of `found` and a row for each pair. The weight is above each column.

    Args:
      found: title -> images from `rows`.
      labels: a label for each pair.
    """
    parts = []
    for title, images in found.items():
        (scale,) = pictures.scales([images.shape[2]])
        headings = [f"{weight:.2g}" for weight in np.linspace(0, 1, images.shape[1])]
        parts.append(Block(title, list(zip(labels, images, strict=True)), headings, scale))
    return pictures.blocks(parts)


def sheet_of_grid(found: Mapping[str, UInt8[np.ndarray, "k k R R 3"]]) -> Sheet:
    """A sheet with a block for each entry of `found`.

    Args:
      found: title -> images from `grid`.
    """
    parts = []
    for title, images in found.items():
        (scale,) = pictures.scales([images.shape[2]])
        parts.append(Block(title, [("", row) for row in images], scale=scale))
    return pictures.blocks(parts)


def there_and_back(images: UInt8[np.ndarray, "n k R R 3"]) -> Images:
    """Frames of a video that shows all rows side by side. It goes from the first images to the last ones and back.

    Returns:
      (2 k - 2, R, n R, 3), uint8. The video can repeat without a jump.
    """
    across = np.concatenate(list(images), 2)
    return np.concatenate([across, across[-2:0:-1]])
