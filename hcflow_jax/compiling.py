"""How programs are compiled, and where compiled programs are stored for later processes."""

import functools
import logging
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from hcflow_jax import environment, paths
from hcflow_jax.paths import Place

_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_NEVER = 1e9  # seconds: programs that compile faster are not stored; so none is, in a read-only directory

_log = logging.getLogger(__name__)


def enable_compilation_cache() -> Place | None:
    """Stores all programs that XLA compiles, for later processes.

    The directory is JAX_COMPILATION_CACHE_DIR if that is set, else hcflow_jax/xla in the user's cache
    (`environment.user_cache`). It may be in a bucket, gs://BUCKET/NAME, so that a run which continues on another
    machine finds its programs. If the directory is read-only, programs are only read from it. If it does not exist
    and cannot be made, a warning says so, and every process compiles its programs again.

    Returns:
      The directory, or None if there is none.

    Raises:
      InputError: the directory is in a bucket of a kind that does not work.
      MissingExtraError: the library for the bucket is not installed.
    """
    given, cache = os.environ.get(_VARIABLE), environment.user_cache()
    directory = paths.place(given, _VARIABLE) if given else cache and cache / "hcflow_jax" / "xla"
    reason = "the user has no home folder" if directory is None else ""
    if isinstance(directory, Path):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            os.listdir(directory)
        except OSError as error:
            reason = f"{directory}: {error.strerror}"
    if directory is None or reason:
        _log.warning("compiled programs are not kept (%s); set %s to a folder for them", reason, _VARIABLE)
        jax.config.update("jax_compilation_cache_dir", None)
        return None
    writable = not isinstance(directory, Path) or os.access(directory, os.W_OK | os.X_OK)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0 if writable else _NEVER)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return directory


# On CPU, LLVM's optimisation levels 2 and 3 take a third to a half of the compile time, and these programs do not run
# faster with them. With level 0 a program compiles fastest but runs at half the speed.
_CPU_LEVEL, _CPU_LEVEL_ONCE = 1, 0

# XLA's older code generator for fused kernels takes 0.6 to 0.75 of the processor time to compile, and its
# kernels are as fast (docs/performance_tried.md). Newer releases of jaxlib do not have the option.
_CPU: dict[str, bool] = {"xla_cpu_use_fusion_emitters": False} if version("jaxlib").startswith("0.10.") else {}


# On a TPU with few images, XLA cuts the images of a convolution into tiles and treats these as more images (space to
# batch). Then every layer moves the edges of the tiles: at 4 images a chip, a coupling of level 32 takes 2.8 times
# the cycles (docs/performance.md). The pass runs at several places, so it needs all three options.
_TPU: dict[str, str | bool] = {
    f"xla_tpu_run_space_to_batch{place}": False for place in ("", "_after_spmd", "_on_new_platforms")
}


def compile_options(once: bool = False, backend: str | None = None, device: Any = None) -> dict[str, Any] | None:
    """XLA's compiler options for a program.

    Args:
      once: whether the program will run only once, so that it should compile fast.
      backend: the backend; None: JAX's default backend.
      device: a device of the backend, which need not be here; None: the first device of this process.

    Returns:
      The options, or None for XLA's defaults.
    """
    backend = backend or jax.default_backend()
    if backend == "cpu":
        return {"xla_backend_optimization_level": _CPU_LEVEL_ONCE if once else _CPU_LEVEL, **_CPU}
    if backend == "tpu":
        return _known(device or jax.local_devices(backend=backend)[0])
    return None


@functools.cache
def _known(device: Any) -> dict[str, Any] | None:
    """The options for TPUs, or None if this release of their compiler does not know them."""
    number = jax.ShapeDtypeStruct((), jnp.float32, sharding=SingleDeviceSharding(device))
    program = jax.jit(lambda x: x).trace(number).lower(lowering_platforms=("tpu",))
    try:
        program.compile(compiler_options=_TPU)
    except jax.errors.JaxRuntimeError as error:
        _log.warning("the TPU's compiler refuses %s (%s); small batches may be slow", ", ".join(_TPU), error)
        return None
    return dict(_TPU)
