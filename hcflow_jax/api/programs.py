"""The compiled programs of a model. Each computes a batch, and is compiled when it is first called."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from hcflow_jax import likelihood, models, settings
from hcflow_jax.compiling import compile_options
from hcflow_jax.config import config_to_plain
from hcflow_jax.data import preprocessing
from hcflow_jax.keys import root_key
from hcflow_jax.tracing import traced_once

DTYPES = ("float32", "bfloat16")


@contextmanager
def _exact(dtype: str) -> Iterator[None]:
    """Settings of JAX for these programs: with float32, matrix products are computed in full float32.

    Otherwise accelerators would round the factors, and decoding would not recover images. Settings that a caller
    made for other programs have no effect.
    """
    with settings.own():
        if dtype == "bfloat16":
            yield
        else:
            with jax.default_matmul_precision("highest"):
                yield


class Programs:
    """The programs of a model in one of the `DTYPES`."""

    def __init__(
        self, config: ConfigDict, dtype: str, several: bool = False, execution: Mapping[str, Any] | None = None
    ):
        """Does not compile anything yet.

        Args:
          config: the whole config.
          dtype: the dtype of the networks' arithmetic.
          several: whether the programs run on several devices. Programs for one device are kept for the next process.
          execution: fields of the config's group `execution` to change; unknown fields are ignored.
        """
        config = config.copy_and_resolve_references()
        wanted = {"dtype": dtype, "encoder_dtype": "auto", **(execution or {})}
        with config.unlocked():
            config.execution.update({name: value for name, value in wanted.items() if name in config.execution})
        self.config, self.dtype = config, dtype
        self.model = model = models.build(config)
        plain = json.dumps(config_to_plain(config), sort_keys=True)
        # Kept programs are found by the source of this package and the config. For a family of your own they say too
        # little.
        kept = not several and type(model).__module__.split(".")[0] == __name__.split(".")[0]

        def program(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            if kept:
                compiled = traced_once(function, f"api {name} {plain}")
            else:
                compiled = jax.jit(function, compiler_options=compile_options())
            lock = threading.Lock()  # only one of several threads compiles it

            def call(*args: Any) -> Any:
                with lock, _exact(dtype):
                    return compiled(*args)

            return call

        def of_level(name: str, function: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
            return {level: program(f"{name} {level}", partial(function, level)) for level in model.level_names}

        to_uint8 = preprocessing.to_uint8
        self.prepare = program("prepare", model.prepare)
        self.encode = program("encode", lambda params, images: model.encode(params, _to_x(images))[0])
        self.encode_with_log_dets = program("log_dets", lambda params, images: model.encode(params, _to_x(images)))
        noisy = self._encode_noisy
        self.encode_noisy = program("encode_noisy", lambda *args: noisy(*args)[0])
        self.encode_noisy_with_log_dets = program("noisy_log_dets", noisy)
        self.decode = program("decode", lambda params, z: to_uint8(model.decode(params, z)))
        self.decode_floats = program("decode_floats", lambda params, z: model.decode(params, z) + 0.5)
        self.decode_coarse = of_level("coarse", lambda level, params, z: model.decode_coarse(params, z, level))
        self.decode_from = of_level("from", lambda level, params, given: to_uint8(self._from(level, params, given)))
        self.decode_floats_from = of_level("floats_from", lambda *args: self._from(*args) + 0.5)
        self.draw = program("draw", self.draw_latents)
        self.sample = program("sample", self.sample_images)
        self.sample_denoised = program("sample_denoised", partial(self.sample_images, denoise=True))
        spaces = [space for space in model.spaces if space != "z"]
        self.to_space = {s: program(f"to {s}", partial(model.to_space, space=s)) for s in spaces}
        self.from_space = {s: program(f"from {s}", partial(model.from_space, space=s)) for s in spaces}
        bound, statistics = likelihood.make_image_bound(model, config), likelihood.make_unit_statistics(model, config)
        self.bits = program(
            "bits", lambda params, given, draw: bound(params, _to_uint8(given[0]), given[1], None, draw)
        )
        self.bits_given = program(
            "bits_given", lambda params, given, shared: bound(params, _to_uint8(given[0]), given[1], shared)
        )
        self.statistics = program(
            "statistics", lambda params, given: statistics(params, _to_uint8(given[0]), given[1])
        )

    def draw_latents(self, seed: Array, indices: Array, sigmas: Array) -> dict[str, Array]:
        """Latents of samples by their index under a seed. A sample does not depend on the others.

        Args:
          seed: (), uint32.
          indices: (b,), uint32.
          sigmas: one for each level, coarse to fine.
        """
        sigma: Any = dict(zip(self.model.level_names, sigmas, strict=True))
        root = root_key(seed)

        def one(index: Array) -> dict[str, Array]:
            z = self.model.draw(jax.random.fold_in(root, index), 1, sigma)
            return {name: array[0] for name, array in z.items()}

        return jax.vmap(one)(indices)

    def sample_images(
        self, params: Any, seed: Array, indices: Array, sigmas: Array, denoise: bool = False
    ) -> tuple[Array, Array]:
        """uint8 images of `draw_latents`, and whether all values of an image are finite, (b,).

        The images are denoised before they are rounded, if `denoise` says so.
        """
        z = self.draw_latents(seed, indices, sigmas)
        if denoise:
            x = self.model.decode_denoised(params, z, self.config.data.noise_std)
        else:
            x = self.model.decode(params, z)
        return preprocessing.to_uint8(x), jnp.isfinite(x).all((1, 2, 3))

    def _encode_noisy(
        self, params: Any, given: tuple[Array, Array], seed: Array, statistics: dict[str, Array]
    ) -> Any:
        images, numbers = given
        keys = jax.vmap(partial(jax.random.fold_in, root_key(seed)))(numbers)
        return self.model.encode_noisy(params, _to_x(images), keys, statistics)

    def _from(self, level: str, params: Any, given: tuple[Any, dict[str, Array]]) -> Array:
        state, z = given
        return self.model.decode_from(params, state, z, level)


def _to_x(images: Array) -> Array:
    return preprocessing.to_x(images) if images.dtype == jnp.uint8 else images - 0.5


def _to_uint8(images: Array) -> Array:
    return images if images.dtype == jnp.uint8 else preprocessing.to_uint8(images - 0.5)
