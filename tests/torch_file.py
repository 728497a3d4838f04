"""Files as the authors' `Network.save` writes them, of any arrays; no PyTorch is needed to make one.

A piece of such a file can be replaced to make a bad one; where each piece lies is known.
"""

import dataclasses
import functools
import io
import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


@dataclasses.dataclass(frozen=True)
class Name:
    """Something named in a pickle, which need not exist."""

    module: str
    name: str

    def __call__(self) -> None:
        """Only for pickle's own check of what is called."""


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """What a call makes once it is read."""

    function: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Object:
    """An object of a class, which PyTorch notes with the class's source."""

    kind: Name
    state: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Persistent:
    """A reference to something outside of the pickle."""

    identity: Any


_PYTHONS: Any = vars(pickle)["_Pickler"]


class _Pickler(_PYTHONS):
    """Python's own, written in Python, with the three kinds of values above."""

    dispatch = dict(_PYTHONS.dispatch)

    def persistent_id(self, obj: Any) -> Any:
        return obj.identity if isinstance(obj, Persistent) else None

    def save_name(self, obj: Name) -> None:
        self.write(f"c{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    def save_call(self, obj: Call) -> None:
        self.save_reduce(obj.function, obj.arguments, obj.state, obj=obj)

    def save_object(self, obj: Object) -> None:
        self.save(Persistent(("module", obj.kind, "network.py", "# source omitted")))
        self.save(())
        self.write(pickle.NEWOBJ)
        self.memoize(obj)
        self.save(obj.state)
        self.write(pickle.BUILD)

    dispatch[Name] = save_name
    dispatch[Call] = save_call
    dispatch[Object] = save_object


def pickled(value: Any) -> bytes:
    """A pickle of protocol 2."""
    made = io.BytesIO()
    _Pickler(made, 2).dump(value)
    return made.getvalue()


# Values as PyTorch writes them

named = functools.cache(Name)  # each once in a pickle, as PyTorch's

_DTYPE = Call(named("numpy", "dtype"), ("f8", False, True), (3, "<", None, None, None, -1, -1, 0))


def _ordered() -> Call:
    return Call(named("collections", "OrderedDict"))


def number(value: float) -> Call:
    """A float64 of numpy's."""
    return Call(named("numpy._core.multiarray", "scalar"), (_DTYPE, struct.pack("<d", value)))


def tensor(key: str, array: np.ndarray, storage: str = "FloatStorage") -> Call:
    """A tensor that is the whole of the storage `key`."""
    strides = tuple(int(np.prod(array.shape[i + 1 :], dtype=int)) for i in range(array.ndim))
    identity = Persistent(("storage", named("torch", storage), key, "cuda:0", array.size, None))
    return Call(named("torch._utils", "_rebuild_tensor_v2"), (identity, 0, array.shape, strides, False, _ordered()))


def parameter(made: Call) -> Call:
    """A tensor that learns."""
    return Call(named("torch._utils", "_rebuild_parameter"), (made, True, _ordered()))


def network(flat: Mapping[str, np.ndarray], initialised: Any = True) -> Object:
    """Modules within each other by the dots of the names, the storages' keys being the names.

    Args:
      flat: name -> array.
      initialised: the actnorms' flag.
    """
    tree: dict[str, Any] = {}
    for name, array in flat.items():
        *outer, last = name.split(".")
        holder = tree
        for part in outer:
            holder = holder.setdefault(part, {})
        holder[last] = tensor(name, array)
    return _module("MultiStep", tree, initialised)


def _module(kind: str, tree: dict[str, Any], initialised: Any) -> Object:
    tensors = {name: value for name, value in tree.items() if isinstance(value, Call)}
    modules = {
        name: _module("Actnorm" if name == "actnorm" else "Layer", value, initialised)
        for name, value in tree.items()
        if name not in tensors
    }
    state = {
        "training": True,
        "_parameters": {name: parameter(value) for name, value in tensors.items() if "_K" not in name},
        "_buffers": {**{name: value for name, value in tensors.items() if "_K" in name}, "kernel": None},
        "_modules": modules,
    }
    made = Object(named("hflow.network", kind), state)
    if kind == "Actnorm":
        state["initialized"] = initialised
    if kind == "MultiStep":
        bound = Call(named("__builtin__", "getattr"), (made, "interpolate_up"))
        state |= {"_backward_hooks": _ordered(), "names": {"a", "b"}, "gain": number(1.5), "us": bound}
    return made


def optimizer(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Adam's state, the moments of every array."""
    moments = {
        i: {"step": 1, **{key: tensor(f"{key}/{name}", array) for key in ("exp_avg", "exp_avg_sq")}}
        for i, (name, array) in enumerate(flat.items())
    }
    group = {"lr": 0.005, "betas": (0.9, 0.999), "params": list(range(len(flat)))}
    return {"state": moments, "param_groups": [group]}


# Files


@dataclasses.dataclass
class Pieces:
    """A file by its pieces, in order; any can be replaced.

    Attributes:
      pieces: name -> bytes, or an array for the elements of a storage.
    """

    pieces: dict[str, bytes | np.ndarray]

    def places(self) -> dict[str, tuple[int, int]]:
        """Name -> first byte, and the one after the last."""
        places, at = {}, 0
        for name, piece in self.pieces.items():
            size = piece.nbytes if isinstance(piece, np.ndarray) else len(piece)
            places[name] = (at, at + size)
            at += size
        return places

    def write(self, path: Path) -> Path:
        """Writes the file; an array of zeros with strides of 0 takes no place on the disk."""
        with open(path, "wb") as file:
            for piece in self.pieces.values():
                _write(file, piece)
            file.truncate()
        return path

    def content(self) -> bytes:
        """The file's bytes."""
        made = io.BytesIO()
        for piece in self.pieces.values():
            made.write(piece if isinstance(piece, bytes) else piece.tobytes())
        return made.getvalue()

    def but(self, **changes: bytes) -> "Pieces":
        """Another file, some pieces replaced."""
        return Pieces({**self.pieces, **changes})


def _write(file: BinaryIO, piece: bytes | np.ndarray) -> None:
    if isinstance(piece, bytes):
        file.write(piece)
    elif piece.size and not any(piece.strides) and piece.ndim and piece.flat[0] == 0:
        file.seek(piece.nbytes, io.SEEK_CUR)
    else:
        file.write(piece.tobytes())


def pieces(
    flat: Mapping[str, np.ndarray], settings: Mapping[str, Any] | None, initialised: Any = True, moments: bool = True
) -> Pieces:
    """A file of the network with these arrays, its moments zero.

    Args:
      flat: state_dict name -> array.
      settings: the release's; None for a file without.
      initialised: the actnorms' flag.
      moments: whether the optimizer has any.
    """
    zeros = {name: np.broadcast_to(np.zeros((), np.float32), array.shape) for name, array in flat.items()}
    zeros = zeros if moments else {}
    made: dict[str, bytes | np.ndarray] = {
        "module": section(b"hflow.network"),
        "source": section(b"# source omitted"),
        **stream("network", network(flat, initialised), flat),
        **stream(
            "optimizer",
            optimizer(zeros),
            {f"{key}/{name}": array for key in ("exp_avg", "exp_avg_sq") for name, array in zeros.items()},
        ),
    }
    if settings is not None:
        made["settings"] = section(json.dumps(settings).encode())
    return Pieces(made)


def section(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content


def stream(name: str, value: Any, storages: Mapping[str, np.ndarray]) -> dict[str, bytes | np.ndarray]:
    made: dict[str, bytes | np.ndarray] = {
        f"{name}_magic": pickled(MAGIC),
        f"{name}_protocol": pickled(1001),
        f"{name}_system": pickled(SYSTEM),
        f"{name}_object": pickled(value),
        f"{name}_keys": pickled(sorted(storages)),
    }
    for key in sorted(storages):
        made[f"{name}_count/{key}"] = struct.pack("<q", storages[key].size)
        made[f"{name}_data/{key}"] = storages[key]
    return made
