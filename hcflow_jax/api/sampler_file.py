"""Writes the sampler as one file of StableHLO. It samples without this package, with jax and flatbuffers.

    import jax
    with open("faces.jaxexport", "rb") as file:
        sampler = jax.export.deserialize(bytearray(file.read()))
    images = sampler.call(jax.numpy.uint32(seed), jax.numpy.uint32(first), sigmas)

`seed`, `first` and the images are those of `Model.sample`; `sigmas` has one value per level, coarse to fine;
levels that are not in `image_model.scaled_levels` usually have 1.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from ml_collections import ConfigDict

from hcflow_jax import paths, settings
from hcflow_jax.api.arguments import known_denoise, whole
from hcflow_jax.api.programs import Programs
from hcflow_jax.files import replacing

PLATFORMS = ("cpu", "cuda", "tpu")
# Choices that the compilers of all platforms accept and compile well.
_EXECUTION = dict(preset="gpu", loop="scan", conv="xla", resample="taps", gain="weights", halves="one")


def write(path: str | Path, config: ConfigDict, params: Any, dtype: str, n: int, denoise: bool = False) -> None:
    """Writes the sampler of a model, with its prepared parameters.

    Args:
      path: the path of the file.
      config: the whole config.
      params: prepared parameters.
      dtype: the dtype of the networks' arithmetic.
      n: images per call.
      denoise: as in `Model.sample`.

    Raises:
      InputError: n is not a whole number or is below 1, there is no noise to remove, or the path is not on this
        machine (see `paths.local`).
      OSError: the file cannot be written.
    """
    path, denoise = paths.local(path, "path"), known_denoise(config, denoise)
    n = whole("n", n, 1, what="at least one image a call")
    programs = Programs(config, dtype, execution=_EXECUTION)
    constants = jax.tree.map(np.asarray, params)

    def sampler(seed: Any, first: Any, sigmas: Any) -> Any:
        numbers = first + jnp.arange(n, dtype=jnp.uint32)
        return programs.sample_images(constants, seed, numbers, sigmas, denoise)[0]

    scalar = jax.ShapeDtypeStruct((), jnp.uint32)
    sigmas = jax.ShapeDtypeStruct((len(programs.model.level_names),), jnp.float32)
    precision = "highest" if dtype == "float32" else "default"
    with settings.own(), jax.default_matmul_precision(precision):
        exported = export.export(jax.jit(sampler), platforms=PLATFORMS)(scalar, scalar, sigmas)
    with replacing(path) as partial:
        partial.write_bytes(exported.serialize())
