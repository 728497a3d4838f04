"""The likelihood of 8-bit images for training and evaluation: dequantised, with noise from one key per image."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, UInt8
from ml_collections import ConfigDict

from hcflow_jax.data import preprocessing
from hcflow_jax.keys import root_key
from hcflow_jax.models import ImageModel, Objective

Statistics = dict[str, Float[Array, ""]]
ByName = dict[str, Float[Array, " B"]]
ImageBound = Callable[..., ByName]


def split_keys(keys: Key[Array, " B"]) -> tuple[Key[Array, " B"], Key[Array, " B"]]:
    """Splits the key of each image into two: for dequantisation, and for the model's own noise."""
    data_keys, noise_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    return data_keys, noise_keys


def dequantised(
    images: UInt8[Array, "B R R 3"], data_keys: Key[Array, " B"], data: ConfigDict, flip: bool
) -> Float[Array, "B R R 3"]:
    """x of 8-bit images (Section 5).

    Args:
      images: uint8.
      data_keys: from `split_keys`.
      data: the config's group `data`: `bits` and `noise_std` are read.
      flip: mirror an image with probability 0.5; its other draws are the same either way.
    """
    return preprocessing.augment(data_keys, images, bits=data.bits, noise_std=data.noise_std, flip=flip)


def objective(
    model: ImageModel,
    params: Any,
    images: UInt8[Array, "B R R 3"],
    keys: Key[Array, " B"],
    data: ConfigDict,
    *,
    flip: bool = False,
    statistics: Statistics | None = None,
) -> Objective:
    """Loss and likelihood of 8-bit images: what training minimises and evaluation reports.

    Args:
      model: the model.
      params: raw or prepared.
      images: uint8; B is a multiple of `model.batch_unit`, unless `statistics` are given.
      keys: one per image; everything random is drawn from them.
      data: the config's group `data`: `bits` and `noise_std` are read.
      flip: mirror images at random, as training does where `data.flip` says so; evaluation does not.
      statistics: from `model.batch_statistics`, in place of the batch's own.
    """
    data_keys, noise_keys = split_keys(keys)
    return model.objective(params, dequantised(images, data_keys, data, flip), noise_keys, statistics)


def by_name(result: Objective) -> ByName:
    """An objective as {"loss", "bits_per_dim", "bits/LEVEL": (B,)}, the names that histories and logs use."""
    by_level = {f"bits/{level}": bits for level, bits in result.bits_by_level.items()}
    return {"loss": result.loss, "bits_per_dim": result.bits_per_dim, **by_level}


def evaluation_keys(seed: int, indices: Int[Array, " B"], draw: int | Array = 0) -> Key[Array, " B"]:
    """The keys of held-out images: fold_in(key(seed), index), whatever JAX's default generator.

    Args:
      seed: the seed of the noise.
      indices: the indices of the images.
      draw: which draw of the noise. Further draws replace key(seed) by fold_in(key(seed), 2^32 - draw): no image has
        that index.
    """
    root = root_key(seed)
    if not (isinstance(draw, int) and draw == 0):
        further = jax.random.fold_in(root, jnp.uint32(0) - jnp.uint32(draw))
        root = jnp.where(draw == 0, root, further)
    return jax.vmap(jax.random.fold_in, (None, 0))(root, indices)


def make_image_bound(model: ImageModel, config: ConfigDict) -> ImageBound:
    """The function for the bound of every image of a batch, with noise that depends on its index; to be jitted.

    Args:
      model: the model.
      config: the whole config; `data` says how images are dequantised, `eval.seed` whose noise it is.

    Returns:
      (params, images (B, R, R, 3) uint8, indices (B,) int32, statistics=None, draw=0) -> `by_name` of their
      objective. `params` may be prepared; B is a multiple of `model.batch_unit`, unless statistics are given.
    """

    def image_bound(
        params: Any, images: Array, indices: Array, statistics: Statistics | None = None, draw: int | Array = 0
    ) -> ByName:
        keys = evaluation_keys(config.eval.seed, indices, draw)
        return by_name(objective(model, params, images, keys, config.data, statistics=statistics))

    return image_bound


def make_unit_statistics(model: ImageModel, config: ConfigDict) -> Callable[..., Statistics]:
    """`model.batch_statistics` of each batch unit by itself, for images as the bound sees them; to be jitted.

    Args:
      model: the model.
      config: the whole config.

    Returns:
      (params, images (U, model.batch_unit, R, R, 3) uint8, indices (U, model.batch_unit) int32) -> {name: (U,)}.
    """

    def of_unit(params: Any, images: Array, indices: Array) -> Statistics:
        data_keys, _ = split_keys(evaluation_keys(config.eval.seed, indices))
        return model.batch_statistics(params, dequantised(images, data_keys, config.data, flip=False))

    return jax.vmap(of_unit, (None, 0, 0))
