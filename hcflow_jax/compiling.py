"""How programs are compiled, and where they are kept for the next process."""

import logging
import os
from pathlib import Path
from typing import Any

import jax

from hcflow_jax import environment

_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_NEVER = 1e9  # seconds that a program must take to compile in order to be kept, in a directory that is only read

_log = logging.getLogger(__name__)


def enable_compilation_cache() -> Path | None:
    """Keeps what XLA compiled, of any size, for the next process.

    In JAX_COMPILATION_CACHE_DIR if that is set, else in the user's cache (`environment.user_cache`), hcflow_jax/xla.
    From a directory that cannot be written, programs are only read. Where there is no directory and none can be made,
    a warning says so, and every process compiles anew.

    Returns:
      The directory; None where there is none.
    """
    given, cache = os.environ.get(_VARIABLE), environment.user_cache()
    directory = Path(given) if given else cache and cache / "hcflow_jax" / "xla"
    reason = "the user has no home folder" if directory is None else ""
    if directory is not None and "://" not in str(given):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            os.listdir(directory)
        except OSError as error:
            reason = f"{directory}: {error.strerror}"
    if directory is None or reason:
        _log.warning("compiled programs are not kept (%s); set %s to a folder for them", reason, _VARIABLE)
        jax.config.update("jax_compilation_cache_dir", None)
        return None
    writable = "://" in str(given) or os.access(directory, os.W_OK | os.X_OK)
    jax.config.update("jax_compilation_cache_dir", given or str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0 if writable else _NEVER)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return directory


# On CPU the last two of LLVM's optimisation levels take a third to a half of the compiling and leave these programs
# as fast as they were; with none a program compiles fastest and runs half as fast.
_CPU_LEVEL, _CPU_LEVEL_ONCE = 1, 0


def compile_options(once: bool = False, backend: str | None = None) -> dict[str, Any] | None:
    """XLA's options for a program on a backend, by default the one in use; `once`: it will run a single time."""
    backend = backend or jax.default_backend()
    if backend == "cpu":
        return {"xla_backend_optimization_level": _CPU_LEVEL_ONCE if once else _CPU_LEVEL}
    return None
