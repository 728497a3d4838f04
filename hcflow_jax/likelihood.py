"""The likelihood of 8-bit images, for training and evaluation. Each image has its own key for all its noise."""

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
    """Splits the key of each image into a key for dequantisation and a key for the model's own noise."""
    data_keys, noise_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    return data_keys, noise_keys


def dequantised(
    images: UInt8[Array, "B R R 3"], data_keys: Key[Array, " B"], data: ConfigDict, flip: bool
) -> Float[Array, "B R R 3"]:
    """Dequantises 8-bit images to x, about [-0.5, 0.5] (docs/model.md, Eq. P).

    Args:
      images: uint8.
      data_keys: from `split_keys`.
      data: the config's group `data`; `bits` and `noise_std` are used.
      flip: whether to mirror each image with probability 0.5. It does not change the other draws.
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
    """Loss and likelihood of each 8-bit image.

    Args:
      model: the model.
      params: raw or prepared.
      images: uint8; B is a multiple of `model.batch_unit`, unless `statistics` are given.
      keys: one per image, for all random draws.
      data: the config's group `data`; `bits` and `noise_std` are used.
      flip: whether to mirror images at random, as training does if `data.flip` is set. Evaluation does not.
      statistics: from `model.batch_statistics`; they replace the statistics of the batch.
    """
    data_keys, noise_keys = split_keys(keys)
    return model.objective(params, dequantised(images, data_keys, data, flip), noise_keys, statistics)


def mean_loss(
    model: ImageModel, params: Any, images: UInt8[Array, "B R R 3"], keys: Key[Array, " B"], data: ConfigDict
) -> tuple[Float[Array, ""], Objective]:
    """The mean loss of the images of a training step, (), bits, and their objective, for the metrics.

    Training differentiates the mean. The arguments are those of `objective`; images are mirrored as `data.flip` says.
    """
    data_keys, noise_keys = split_keys(keys)
    return model.mean_loss(params, dequantised(images, data_keys, data, data.flip), noise_keys)


def by_name(result: Objective) -> ByName:
    """An objective as {"loss", "bits_per_dim", "bits/LEVEL": (B,)}: the names in histories and logs."""
    by_level = {f"bits/{level}": bits for level, bits in result.bits_by_level.items()}
    return {"loss": result.loss, "bits_per_dim": result.bits_per_dim, **by_level}


def evaluation_keys(seed: int, indices: Int[Array, " B"], draw: int | Array = 0) -> Key[Array, " B"]:
    """The keys of held-out images: fold_in(key(seed), index), with `keys.root_key`.

    Args:
      seed: the seed of the noise.
      indices: the indices of the images.
      draw: the number of the draw of the noise. For draws other than 0, key(seed) is replaced by
        fold_in(key(seed), 2^32 - draw); no image has that index.
    """
    root = root_key(seed)
    if not (isinstance(draw, int) and draw == 0):
        further = jax.random.fold_in(root, jnp.uint32(0) - jnp.uint32(draw))
        root = jnp.where(draw == 0, root, further)
    return jax.vmap(jax.random.fold_in, (None, 0))(root, indices)


def make_image_bound(model: ImageModel, config: ConfigDict) -> ImageBound:
    """Makes the function that computes the objective of every image of a batch. You can jit it.

    The noise of an image depends only on `config.eval.seed`, its index and the number of the draw.

    Args:
      model: the model.
      config: the whole config; `data` and `eval.seed` are used.

    Returns:
      (params, images (B, R, R, 3) uint8, indices (B,) int32, statistics=None, draw=0) -> the objective, `by_name`.
      `params` may be prepared. B is a multiple of `model.batch_unit`, unless statistics are given.
    """

    def image_bound(
        params: Any, images: Array, indices: Array, statistics: Statistics | None = None, draw: int | Array = 0
    ) -> ByName:
        keys = evaluation_keys(config.eval.seed, indices, draw)
        return by_name(objective(model, params, images, keys, config.data, statistics=statistics))

    return image_bound


def make_unit_statistics(model: ImageModel, config: ConfigDict) -> Callable[..., Statistics]:
    """Makes the function that computes `model.batch_statistics` of each batch unit separately. You can jit it.

    Images are dequantised as for the bound.

    Args:
      model: the model.
      config: the whole config; `data` and `eval.seed` are used.

    Returns:
      (params, images (U, model.batch_unit, R, R, 3) uint8, indices (U, model.batch_unit) int32) -> {name: (U,)}.
    """

    def of_unit(params: Any, images: Array, indices: Array) -> Statistics:
        data_keys, _ = split_keys(evaluation_keys(config.eval.seed, indices))
        return model.batch_statistics(params, dequantised(images, data_keys, config.data, flip=False))

    return jax.vmap(of_unit, (None, 0, 0))
