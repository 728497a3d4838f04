"""Stores traced programs for later processes, beside the compiled ones.

Before XLA can look up a compiled program, Python must trace the model to get the program's text. For a deep flow this
takes seconds, at every start. So the text is stored in the folder of compiled programs (`compiling`), in the format
of `jax.export`. The name of the file is a digest of all that the program depends on: the source of this package, the
versions of libraries, JAX's settings, the caller's config and the shapes.
"""

import hashlib
import importlib.metadata
import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from hcflow_jax import buckets, paths
from hcflow_jax.compiling import compile_options
from hcflow_jax.paths import Place

_LIBRARIES = ("jax", "jaxlib", "flax", "numpy")
_ELSEWHERE = ("cache", "log")  # JAX's settings with these in their names do not change a program
_DIGEST = hashlib.sha256().digest_size

_log = logging.getLogger(__name__)


def traced_once(function: Callable[..., Any], about: str) -> Callable[..., Any]:
    """Compiles a function. If an earlier process has stored its traced program, it is not traced again.

    Args:
      function: a function of trees of arrays (dicts, lists, tuples), for one device. It cannot be differentiated.
        `about` must determine all values that it uses besides its arguments.
      about: the function's name, and everything that it depends on besides this package's source.

    Returns:
      The compiled function. Without a compilation cache it is the result of `jax.jit`.
    """
    plain = jax.jit(function, compiler_options=compile_options())
    programs: dict[Any, Callable[..., Any]] = {}

    def call(*args: Any) -> Any:
        directory = jax.config.values["jax_compilation_cache_dir"]
        if not directory:
            return plain(*args)
        leaves, tree = jax.tree.flatten(args)
        shapes = tree, tuple((np.shape(leaf), jax.dtypes.result_type(leaf)) for leaf in leaves)
        if shapes not in programs:
            name = hashlib.sha256(repr((about, shapes, _surroundings())).encode()).hexdigest()
            file = paths.place(directory) / "traced" / name
            exported = _read(file) or _write(file, export.export(plain)(*args))
            programs[shapes] = jax.jit(exported.call, compiler_options=compile_options())
        return programs[shapes](*args)

    return call


def _surroundings() -> tuple[Any, ...]:
    """What a program depends on besides `about` and the shapes."""
    settings = {k: v for k, v in jax.config.values.items() if not any(word in k for word in _ELSEWHERE)}
    return _versions(), jax.default_backend(), sorted(settings.items())


@cache
def _versions() -> tuple[str, ...]:
    source, package = hashlib.sha256(), Path(__file__).parent
    for file in sorted(package.rglob("*.py")):
        source.update(str(file.relative_to(package)).encode() + file.read_bytes())
    return source.hexdigest(), *(importlib.metadata.version(library) for library in _LIBRARIES)


def _read(file: Place) -> export.Exported | None:
    try:
        content = file.read_bytes() if isinstance(file, Path) else buckets.read(file)
        digest, program = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(program).digest() != digest:
            raise ValueError("it is damaged")
        return export.deserialize(bytearray(program))
    except FileNotFoundError:
        return None
    except Exception as error:  # the file is damaged or incompatible: trace again
        _log.warning("%s cannot be read (%s); tracing again", file, error)
        return None


def _write(file: Place, exported: export.Exported) -> export.Exported:
    """Stores a traced program, and returns it. If it cannot be written, later processes must only trace again."""
    folder = file.parent.parent
    if isinstance(folder, Path) and folder.is_dir() and not os.access(folder, os.W_OK):
        return exported  # the cache is read-only for this user
    program = bytes(exported.serialize())
    try:
        buckets.write(file, lambda opened: opened.write(hashlib.sha256(program).digest() + program))
    except OSError as error:
        _log.warning("%s cannot be written (%s); the next start will trace again", file, error.strerror or error)
    return exported
