"""The bound of single images: bits per dimension under the noisy model, entropies included (Section 5)."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from hcflow_jax.data import preprocessing
from hcflow_jax.models import ImageModel

ImageBound = Callable[[Any, UInt8[Array, "B R R 3"], Int[Array, " B"]], dict[str, Float[Array, " B"]]]


def make_image_bound(model: ImageModel, config: ConfigDict) -> ImageBound:
    """The bound of every image of a batch, with noise of its own that its index draws; to be jitted.

    Args:
      model: the model.
      config: the whole config; `data` says how images are dequantised, `eval.seed` whose noise it is.

    Returns:
      (params, images (B, R, R, 3) uint8, indices (B,) int32) -> {"loss", "bits_per_dim", "bits/LEVEL": (B,)}.
      `params` may be prepared; B is a multiple of the statistics group.
    """
    root = jax.random.key(config.eval.seed, impl="threefry2x32")

    def image_bound(params: Any, images: Array, indices: Array) -> dict[str, Array]:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(root, indices)
        data_keys, noise_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        x = preprocessing.augment(
            data_keys, images, bits=config.data.bits, noise_std=config.data.noise_std, flip=False
        )
        result = model.objective(params, x, noise_keys)
        by_level = {f"bits/{level}": bits for level, bits in result.bits_by_level.items()}
        return {"loss": result.loss, "bits_per_dim": result.bits_per_dim, **by_level}

    return image_bound
