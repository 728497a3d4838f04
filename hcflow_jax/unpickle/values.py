"""What a pickle can make here: plain values, tensors that point into storages, and stand-ins of the authors' modules.

`named` says what may be named at all, `call` what a call of it makes. Neither reaches any object of Python's but
the ones in this file.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hcflow_jax.unpickle.source import UnpickleError, shown

DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_PACKAGES = ("hflow", "torch.nn")  # whose classes are kept as stand-ins
_SCALARS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_DIMENSIONS = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Named:
    """Something that a pickle names; nothing is imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return shown(f"{self.module}.{self.name}")

    @property
    def is_class(self) -> bool:
        """Whether it is one of the authors' or PyTorch's modules."""
        return any(f"{self.module}.".startswith(f"{package}.") for package in _PACKAGES)


@dataclasses.dataclass(slots=True, eq=False)
class Module:
    """Stand-in of an object: which class, and the attributes it was saved with."""

    kind: Named
    state: dict[Any, Any] | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A run of numbers that the stream holds after its pickles: under which key, of what kind, how many."""

    key: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """Part of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Of its elements."""
        return math.prod(self.shape) * self.storage.dtype.itemsize


@dataclasses.dataclass(slots=True, eq=False)
class _Inert:
    """A value that nothing is done with: a bound method, or a numpy dtype."""

    kind: str
    about: str


def named(module: str, name: str) -> Named:
    """What a pickle names, if it may.

    Raises:
      UnpickleError: it is none of the few names that a model is made of.
    """
    found = Named(module, name)
    if (module, name) in _CALLS or found.is_class or (module == "torch" and name in DTYPES):
        return found
    raise UnpickleError(f"it names {found}, which is no part of a model: refused, nothing was run")


def call(function: Any, arguments: Any) -> Any:
    """What a call makes.

    Raises:
      UnpickleError: it is not one of `_CALLS`, or not with such arguments.
    """
    make = _CALLS.get((function.module, function.name)) if isinstance(function, Named) else None
    if make is None:
        said = str(function) if isinstance(function, Named) else f"a {shown(function)}"
        raise UnpickleError(f"it calls {said}, which is not to be called: refused, nothing was run")
    try:
        if not isinstance(arguments, tuple):
            raise TypeError
        return make(*arguments)
    except TypeError:  # another number of them
        raise UnpickleError(f"it calls {function} with other arguments than PyTorch does") from None


def new(kind: Any, arguments: Any) -> Module:
    """A stand-in of an object of a class.

    Raises:
      UnpickleError: not a class of the authors' or PyTorch's modules, or made with arguments.
    """
    if not isinstance(kind, Named) or not kind.is_class or arguments != ():
        said = str(kind) if isinstance(kind, Named) else f"a {shown(kind)}"
        raise UnpickleError(f"it makes an object of {said}, which is no module: refused, nothing was run")
    return Module(kind)


def build(target: Any, state: Any) -> None:
    """Gives an object its state.

    Raises:
      UnpickleError: it takes none, has one, or the state is not of its kind.
    """
    if isinstance(target, Module) and target.state is None and isinstance(state, dict):
        target.state = state
    elif not (isinstance(target, _Inert) and isinstance(state, tuple) and state[1:2] in (("<",), ("|",))):
        raise UnpickleError(f"it gives a {shown(target)} a state that does not fit")


def is_count(value: Any) -> bool:
    """Whether a value is a whole number from 0 on, as sizes and places are."""
    return type(value) is int and value >= 0


def _ordered_dict() -> dict[Any, Any]:
    return {}


def _set(items: Any = ()) -> frozenset[str]:
    if not isinstance(items, list | tuple) or not all(type(item) is str for item in items):
        raise UnpickleError("it has a set of other things than names")
    return frozenset(items)


def _attribute(owner: Any, name: Any) -> _Inert:
    if not isinstance(owner, Module) or type(name) is not str:
        raise UnpickleError(f"it takes the attribute {shown(name)} of a {shown(owner)}: refused, nothing was run")
    return _Inert("a bound method", name)


def _encoded(text: Any, codec: Any) -> bytes:
    if type(text) is not str or codec != "latin1" or len(text) > 64:
        raise UnpickleError("it has bytes that are no number of numpy's")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise UnpickleError("it has bytes that are no number of numpy's") from None


def _dtype(code: Any, align: Any = False, copy: Any = True) -> _Inert:
    if code not in _SCALARS:
        raise UnpickleError(f"it has a number of numpy's of the type {shown(code)}, expected {', '.join(_SCALARS)}")
    return _Inert("a dtype", code)


def _scalar(dtype: Any, content: Any = b"") -> int | float | bool:
    if not isinstance(dtype, _Inert) or dtype.kind != "a dtype" or type(content) is not bytes:
        raise UnpickleError("it has a number of numpy's that is not made of a dtype and bytes")
    if len(content) != (wanted := np.dtype(dtype.about).itemsize):
        raise UnpickleError(f"it has a number of numpy's of {len(content)} bytes, expected {wanted}")
    return np.frombuffer(content, f"<{dtype.about}")[0].item()


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, metadata: Any = None
) -> Tensor:
    if not isinstance(storage, Storage):
        raise UnpickleError(f"it has a tensor of a {shown(storage)}, not of a storage")
    plain = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= _DIMENSIONS
    if not (plain and all(is_count(n) for n in (offset, *shape, *strides))):
        raise UnpickleError(f"a tensor of storage {shown(storage.key)} has no proper offset, shape and strides")
    elements = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) if elements else offset
    if elements > storage.count or last >= storage.count + (elements == 0):
        raise UnpickleError(
            f"a tensor of {elements if elements < 2**63 else 'too many'} elements lies outside of its storage "
            f"{shown(storage.key)}, which has {storage.count}"
        )
    return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, grad: Any, hooks: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise UnpickleError(f"it has a parameter that is a {shown(tensor)}, not a tensor")
    return tensor


_CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("__builtin__", "set"): _set,
    ("builtins", "set"): _set,
    ("__builtin__", "getattr"): _attribute,
    ("builtins", "getattr"): _attribute,
    ("_codecs", "encode"): _encoded,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
