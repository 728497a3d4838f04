"""How programs are compiled, and where they are kept for the next process."""

import os
from pathlib import Path
from typing import Any

import jax


def enable_compilation_cache() -> Path:
    """Keeps what XLA compiled, of any size, for the next process.

    In JAX_COMPILATION_CACHE_DIR if that is set, else in the user's cache: $XDG_CACHE_HOME or ~/.cache,
    hcflow_jax/xla.

    Returns:
      The directory.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hcflow_jax" / "xla"
    directory = Path(os.environ.get("JAX_COMPILATION_CACHE_DIR") or cache)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
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
