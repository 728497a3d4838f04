"""Traced programs, kept for the next process beside the compiled ones.

Before XLA can look for a compiled program, Python traces the model and writes out the program that is to be compiled:
for a deep flow seconds, at every start. Where compiled programs are kept (`compiling`), so is that text, as
`jax.export` writes it, under everything that it depends on: this package's source, the libraries' versions, JAX's
settings, the caller's config, the shapes.
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

from hcflow_jax.compiling import compile_options
from hcflow_jax.files import replacing

_LIBRARIES = ("jax", "jaxlib", "flax", "numpy")
_ELSEWHERE = ("cache", "log")  # JAX's settings with these in their names do not change a program
_DIGEST = hashlib.sha256().digest_size

_log = logging.getLogger(__name__)


def traced_once(function: Callable[..., Any], about: str) -> Callable[..., Any]:
    """A function, compiled; its traced program is read from the compilation cache if a process wrote it there before.

    Args:
      function: a function of trees of arrays (dicts, lists, tuples), without gradients, for one device. What it
        closes over must follow from `about`.
      about: the function's name, and what it depends on besides this package's source.

    Returns:
      The same function. Without a compilation cache it is `jax.jit`'s.
    """
    plain = jax.jit(function, compiler_options=compile_options())
    programs: dict[Any, Callable[..., Any]] = {}

    def call(*args: Any) -> Any:
        directory = jax.config.values["jax_compilation_cache_dir"]
        if not directory or "://" in directory:
            return plain(*args)
        leaves, tree = jax.tree.flatten(args)
        shapes = tree, tuple((np.shape(leaf), jax.dtypes.result_type(leaf)) for leaf in leaves)
        if shapes not in programs:
            name = hashlib.sha256(repr((about, shapes, _surroundings())).encode()).hexdigest()
            file = Path(directory) / "traced" / name
            exported = _read(file) or _write(file, export.export(plain)(*args))
            programs[shapes] = jax.jit(exported.call, compiler_options=compile_options())
        return programs[shapes](*args)

    return call


def _surroundings() -> tuple[Any, ...]:
    """Whatever else a program depends on."""
    settings = {k: v for k, v in jax.config.values.items() if not any(word in k for word in _ELSEWHERE)}
    return _versions(), jax.default_backend(), sorted(settings.items())


@cache
def _versions() -> tuple[str, ...]:
    source, package = hashlib.sha256(), Path(__file__).parent
    for file in sorted(package.rglob("*.py")):
        source.update(str(file.relative_to(package)).encode() + file.read_bytes())
    return source.hexdigest(), *(importlib.metadata.version(library) for library in _LIBRARIES)


def _read(file: Path) -> export.Exported | None:
    try:
        content = file.read_bytes()
        digest, program = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(program).digest() != digest:
            raise ValueError("it is damaged")
        return export.deserialize(bytearray(program))
    except FileNotFoundError:
        return None
    except Exception as error:  # another's file, or half a one: as good as none
        _log.warning("%s cannot be read (%s); tracing again", file, error)
        return None


def _write(file: Path, exported: export.Exported) -> export.Exported:
    """Writes it, all at once or not at all; a disk that is full costs the next process its time and nothing else."""
    if file.parent.parent.is_dir() and not os.access(file.parent.parent, os.W_OK):
        return exported  # a cache that others filled, and this user only reads
    program = bytes(exported.serialize())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            partial.write_bytes(hashlib.sha256(program).digest() + program)
    except OSError as error:
        _log.warning("%s cannot be written (%s); the next start will trace again", file, error.strerror)
    return exported
