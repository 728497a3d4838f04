"""Reads the file that the authors' `Network.save` writes: parameters by their state_dict names, and the settings.

The file contains, in this order: the name of a Python module and its source text, each after its length (4 bytes,
little-endian); the pickled network and its optimizer's state, each a stream of PyTorch's older format; the settings
as JSON, after their length. The source text is skipped. The optimizer's state is checked and skipped.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hcflow_jax.unpickle import Module, Source, Stream, Tensor, UnpickleError, read_stream
from hcflow_jax.unpickle.source import shown

LONGEST_NAME = 1_000  # bytes: the longest name of a module
LONGEST_SETTINGS = 2**20  # bytes: the longest settings
DEEPEST = 50  # the deepest nesting of modules

_ZIP = b"PK\x03\x04"


@dataclasses.dataclass(frozen=True)
class Release:
    """The contents of a file.

    Attributes:
      flat: state_dict name -> array, float32. The arrays are read-only views of the file.
      settings: {"GENERAL": ..., "MODEL_PARAMETERS": ..., ...}; None if the file has no settings.
      module: the name of the Python module that defines the network's class.
      bytes: the size of the file, bytes.
    """

    flat: Mapping[str, np.ndarray]
    settings: Mapping[str, Any] | None
    module: str
    bytes: int


def read(path: str | Path) -> Release:
    """Reads a file. Nothing in it is run.

    Raises:
      OSError: the file cannot be read.
      UnpickleError: the file is cut short, damaged, of another format, or contains something that a trained network
        does not have. One line that says where, without the name of the file.
    """
    source = Source(path)
    if source.bytes[:4] == _ZIP:
        raise UnpickleError("it is in PyTorch's zip format; expected what the authors' Network.save writes")
    module = _section(source, "the module's name", LONGEST_NAME).decode("utf-8", "replace")
    _section(source, "the module's source")
    network = _stream(source, "the network")
    flat = {name: network.array(tensor) for name, tensor in state_dict(network).items()}
    _stream(source, "the optimizer's state")
    settings = _settings(source) if source.left else None
    if source.left:
        raise UnpickleError(f"{source.left} bytes follow the settings: it is damaged, or of another format")
    return Release(flat, settings, module, source.tell())


def _section(source: Source, name: str, most: int | None = None) -> bytes:
    """Reads a length and then that many bytes, at most `most`. If `most` is None, skips them."""
    at = source.tell()
    try:
        length = source.number(4)
        if most is None:
            source.skip(length)
            return b""
        if length > most:
            raise UnpickleError(f"{length} bytes are claimed, expected {most} at most: it is of another format")
        return source.read(length)
    except UnpickleError as error:
        raise UnpickleError(f"{name}, at byte {at}: {error}") from None


def _stream(source: Source, name: str) -> Stream:
    at = source.tell()
    if not source.left:
        raise UnpickleError(f"it ends at byte {at}, where {name} should begin: it is cut short")
    try:
        return read_stream(source)
    except UnpickleError as error:
        raise UnpickleError(f"{name}, at byte {at}: {error}") from None


def _settings(source: Source) -> dict[str, Any]:
    at = source.tell()
    content = _section(source, "the settings", LONGEST_SETTINGS)
    try:
        found = json.loads(content, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UnpickleError(f"the settings, at byte {at}, are not JSON: {shown(str(error))}") from None
    if not isinstance(found, dict):
        raise UnpickleError(f"the settings, at byte {at}, are not a JSON object")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return value


# The network


def state_dict(stream: Stream) -> dict[str, Tensor]:
    """The tensors of a network, by the names that PyTorch's `state_dict` gives them. All must be float32.

    Raises:
      UnpickleError: it is not a network, an actnorm was not initialised, or a tensor is not float32.
    """
    if not isinstance(stream.object, Module):
        raise UnpickleError(f"the network is a {shown(stream.object)}, expected the authors' MultiStep")
    found: dict[str, Tensor] = {}
    for prefix, module in _modules(stream.object):
        _initialised(prefix, module)
        for name, tensor in _own(prefix, module):
            if name in found:
                raise UnpickleError(f"the network has {shown(name)} twice")
            if tensor.storage.dtype != np.float32:
                raise UnpickleError(f"{shown(name)} is of {tensor.storage.dtype}, expected float32")
            found[name] = tensor
    total, there = sum(tensor.bytes for tensor in found.values()), sum(s.count * 4 for s in _storages(found))
    if total > there:
        raise UnpickleError(f"the network's tensors have {total} bytes, their storages {there}: it is damaged")
    return found


def _storages(tensors: Mapping[str, Tensor]) -> Any:
    return {tensor.storage.key: tensor.storage for tensor in tensors.values()}.values()


def _modules(root: Module) -> Iterator[tuple[str, Module]]:
    """Yields every module with the prefix of its names, outer modules first."""
    waiting, seen = [("", root)], {id(root)}
    while waiting:
        prefix, module = waiting.pop()
        yield prefix, module
        if prefix.count(".") >= DEEPEST:
            raise UnpickleError(f"{shown(prefix)} is nested deeper than any network: {DEEPEST} modules")
        for name, child in _dict(prefix, module, "_modules"):
            if child is None:
                continue
            if not isinstance(child, Module) or id(child) in seen:
                problem = "is there twice" if isinstance(child, Module) else f"is a {shown(child)}, no module"
                raise UnpickleError(f"the layer {shown(prefix + name)} {problem}")
            seen.add(id(child))
            waiting.append((f"{prefix}{name}.", child))


def _dict(prefix: str, module: Module, name: str) -> list[tuple[str, Any]]:
    """The entries of one of the dicts of a module, such as "_modules"."""
    entries = (module.state or {}).get(name)
    if not isinstance(entries, dict) or not all(type(key) is str for key in entries):
        raise UnpickleError(f"the layer {shown(prefix[:-1])} has no proper {name}: it is not a PyTorch module")
    return list(entries.items())


def _own(prefix: str, module: Module) -> Iterator[tuple[str, Tensor]]:
    for group in ("_parameters", "_buffers"):
        for name, tensor in _dict(prefix, module, group):
            if tensor is None:
                continue
            if not isinstance(tensor, Tensor):
                raise UnpickleError(f"{shown(prefix + name)} is a {shown(tensor)}, not a tensor")
            yield prefix + name, tensor


def _initialised(prefix: str, module: Module) -> None:
    """Checks that an actnorm is initialised. Otherwise it would take its values from the next images."""
    state = module.state or {}
    if module.kind.endswith(".Actnorm") and state.get("initialized") is not True:
        flag = "is not set" if "initialized" in state else "is missing"
        raise UnpickleError(
            f"the layer {shown(prefix[:-1])} was not initialised (its flag `initialized` {flag}): "
            "save the network after its first training step"
        )
