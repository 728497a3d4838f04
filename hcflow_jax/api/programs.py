"""The model's compiled programs: a few batch sizes, to which any number of images is cut and filled up."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from ml_collections import ConfigDict

from hcflow_jax import models
from hcflow_jax.api import bound
from hcflow_jax.config import config_to_plain
from hcflow_jax.data import preprocessing
from hcflow_jax.tracing import traced_once

DTYPES = ("float32", "bfloat16")
_PIXELS = 2**20  # of the images of the largest batch, on a CPU as on an accelerator
_LARGEST = 64
_STEP = 4  # from one batch size to the next: a batch is computed at most four times larger than it is


def largest_batch(resolution: int) -> int:
    """Images a call at most; more are cut into calls."""
    return max(_STEP, min(_LARGEST, _PIXELS // resolution**2))


def bucket(count: int, largest: int) -> int:
    """The batch size that `count` images are filled up to: 1, 4, 16, ... or the largest."""
    size = 1
    while size < count:
        size *= _STEP
    return min(size, largest)


def in_batches(call: Callable[..., Any], largest: int, arrays: Any, at_least: int = 1) -> Any:
    """Calls a program on batches of few sizes, and joins what it gives.

    The next batch is dispatched before the one before it is fetched. The last is filled up with its first images.

    Args:
      call: takes and gives trees of arrays (batch, ...).
      largest: images a call at most.
      arrays: a tree of numpy arrays (n, ...), n the same for all.
      at_least: the smallest batch; sizes are its multiples.

    Returns:
      A tree of numpy arrays (n, ...).
    """
    count = len(jax.tree.leaves(arrays)[0])
    parts, pending = [], None
    for start in range(0, count, largest):
        size = min(largest, count - start)
        full = max(at_least, bucket(size, largest))
        rows = start + np.arange(full) % size
        output = call(jax.tree.map(lambda a: a[rows], arrays))  # noqa: B023
        if pending is not None:
            parts.append(_fetch(*pending))
        pending = output, size
    parts.append(_fetch(*pending))  # type: ignore[misc]
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _fetch(output: Any, size: int) -> Any:
    return jax.tree.map(lambda a: a[:size], jax.device_get(output))


@contextmanager
def _exact(dtype: str) -> Iterator[None]:
    """In float32, products are: accelerators would round their factors, and decoding would not undo encoding."""
    if dtype == "bfloat16":
        yield
    else:
        with jax.default_matmul_precision("highest"):
            yield


class Programs:
    """What is compiled of a model, in one of the `DTYPES`; each when it is first wanted."""

    def __init__(self, config: ConfigDict, dtype: str, execution: dict[str, Any] | None = None):
        """Compiles nothing yet.

        Args:
          config: the whole config.
          dtype: of the networks' arithmetic.
          execution: other fields of the config's group that are to differ.
        """
        config = config.copy_and_resolve_references()
        with config.unlocked():
            config.execution.update({"dtype": dtype, "encoder_dtype": "auto", **(execution or {})})
        self.model = models.build(config)
        self.config, self.dtype = config, dtype

        plain = json.dumps(config_to_plain(config), sort_keys=True)

        def program(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            traced = traced_once(function, f"api {name} {plain}")

            def call(*args: Any) -> Any:
                with _exact(dtype):
                    return traced(*args)

            return call

        model, to_uint8 = self.model, preprocessing.to_uint8
        self.prepare = program("prepare", model.prepare)
        self.encode = program("encode", lambda params, images: model.encode(params, _to_x(images))[0])
        self.encode_with_log_dets = program("log_dets", lambda params, images: model.encode(params, _to_x(images)))
        self.decode = program("decode", lambda params, z: to_uint8(model.decode(params, z)))
        self.decode_floats = program("decode_floats", lambda params, z: model.decode(params, z) + 0.5)
        self.draw = program("draw", self.draw_latents)
        self.sample = program("sample", self.sample_images)
        self.to_y_top = program("to_y_top", partial(model.to_space, space="y_top"))
        self.from_y_top = program("from_y_top", partial(model.from_space, space="y_top"))
        image_bound = bound.make_image_bound(model, config)
        self.bits = program("bits", lambda params, images, indices: image_bound(params, _to_uint8(images), indices))

    def draw_latents(self, seed: Array, indices: Array, sigmas: Array) -> dict[str, Array]:
        """Latents of samples by their index under a seed, alone or among others the same.

        Args:
          seed: (), uint32.
          indices: (b,), uint32.
          sigmas: a level, coarse to fine.
        """
        sigma: Any = dict(zip(self.model.level_names, sigmas, strict=True))
        root = jax.random.key(seed, impl="threefry2x32")

        def one(index: Array) -> dict[str, Array]:
            z = self.model.draw(jax.random.fold_in(root, index), 1, sigma)
            return {name: array[0] for name, array in z.items()}

        return jax.vmap(one)(indices)

    def sample_images(self, params: Any, seed: Array, indices: Array, sigmas: Array) -> Array:
        """uint8 images of `draw_latents`."""
        return preprocessing.to_uint8(self.model.decode(params, self.draw_latents(seed, indices, sigmas)))


def _to_x(images: Array) -> Array:
    return preprocessing.to_x(images) if images.dtype == jnp.uint8 else images - 0.5


def _to_uint8(images: Array) -> Array:
    return images if images.dtype == jnp.uint8 else preprocessing.to_uint8(images - 0.5)
