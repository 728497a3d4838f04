"""The authors' files read a second way, with Python's own unpickler and no checks: what ours is compared with.

Only for files that ours has accepted: of others it would believe whatever they claim.
"""

import io
import pickle
import struct
from typing import Any

import numpy as np


class _Thing:
    """Any object, class or call: what it was made with, and its state."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if name == "OrderedDict":
            return dict
        return {"set": set, "encode": bytes, "_rebuild_parameter": lambda tensor, *_: tensor}.get(
            name, type(name, (_Thing,), {"__setstate__": lambda self, state: setattr(self, "state", state)})
        )

    def persistent_load(self, pid: Any, /) -> Any:
        return pid[1] if pid[0] == "module" else pid


def read(content: bytes) -> dict[str, np.ndarray]:
    """The network's tensors by name."""
    at = 0
    for _ in range(2):
        (length,) = struct.unpack_from("<I", content, at)
        at += 4 + length
    file = io.BytesIO(content)
    file.seek(at)
    *_, network, keys = (_Unpickler(file, encoding="latin1").load() for _ in range(5))
    places, at = {}, file.tell()
    for key in keys:
        (count,) = struct.unpack_from("<q", content, at)
        places[key] = at + 8
        at += 8 + 4 * count
    return {name: _array(content, places, tensor) for name, tensor in _tensors(network, "").items()}


def _tensors(module: Any, prefix: str) -> dict[str, Any]:
    own = {**module.state["_parameters"], **module.state["_buffers"]}
    found = {prefix + name: tensor for name, tensor in own.items() if tensor is not None}
    for name, child in module.state["_modules"].items():
        found |= _tensors(child, f"{prefix}{name}.") if child is not None else {}
    return found


def _array(content: bytes, places: dict[str, int], tensor: Any) -> np.ndarray:
    (_, _, key, _, count, _), offset, shape, strides = tensor.arguments[:4]
    whole = np.frombuffer(content, "<f4", count, places[key])
    made = np.empty(shape, np.float32)
    for index in np.ndindex(*shape):
        made[index] = whole[offset + sum(i * stride for i, stride in zip(index, strides, strict=True))]
    return made
