"""The values that a pickle can make: plain values, tensors that refer to storages, and stand-ins for modules.

`Names` defines which names a pickle may use, and `_CALLS` what a call makes. An unpickler that gets all names from
here can reach only the objects in this file, and each of them refuses all other calls and changes.
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
_PACKAGES = ("hflow", "torch.nn")  # packages whose classes get stand-ins
_SCALARS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
_DIMENSIONS = 8


MOST_CLASSES = 1_000  # the largest number of classes that a pickle may name


class Value:
    """The base class of values that are not plain. A pickle cannot set their state."""

    def __setstate__(self, state: Any) -> None:
        """Raises an UnpickleError."""
        raise UnpickleError(f"it gives a {shown(self)} a state that does not fit")


class _Kind(type):
    """The metaclass of stand-ins. Their classes cannot be called."""

    kind: str

    def __call__(cls, *_: Any) -> Any:
        raise UnpickleError(f"it calls {shown(cls.kind)}, which must not be called; refused, and nothing was run")


class Module(metaclass=_Kind):
    """The stand-in for an object of a module's class. Every class that a pickle names is a subclass.

    Attributes:
      kind: the name of the class in the pickle, such as "hflow.network.Actnorm".
      state: the attributes with which the object was saved; None before they are set.
    """

    kind = ""
    state: dict[Any, Any] | None = None

    def __new__(cls, *arguments: Any) -> "Module":
        """Makes a stand-in.

        Raises:
          UnpickleError: the pickle gives arguments.
        """
        if arguments:
            raise UnpickleError(
                f"it makes an object of {shown(cls.kind)} with arguments; refused, and nothing was run"
            )
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Sets the attributes.

        Raises:
          UnpickleError: they are already set, or they are not a dict.
        """
        if self.state is not None or not isinstance(state, dict):
            raise UnpickleError(f"it gives a {shown(self)} a state that does not fit")
        self.state = state


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers(Value):
    """The dtype of a storage."""

    dtype: np.dtype


@dataclasses.dataclass(frozen=True, eq=False)
class Storage(Value):
    """An array of numbers in the file, outside the pickle.

    Attributes:
      key: its name.
      dtype: the dtype of its elements.
      count: the number of its elements.
    """

    key: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor(Value):
    """A part of a storage.

    Attributes:
      storage: the storage.
      offset: the position of the first element in the storage.
      shape: the shape of the tensor.
      strides: the strides of its axes, in elements.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """The size of its elements, bytes."""
        return math.prod(self.shape) * self.storage.dtype.itemsize


@dataclasses.dataclass(frozen=True, eq=False)
class _Method(Value):
    """The stand-in for a bound method. It does nothing."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Dtype(Value):
    """A dtype of numpy, by its code."""

    code: str

    def __setstate__(self, state: Any) -> None:
        """Ignores the state of a numpy dtype, if its byte order is little-endian.

        Raises:
          UnpickleError: it has another byte order, or is not such a state.
        """
        if not isinstance(state, tuple) or state[1:2] not in (("<",), ("|",)):
            super().__setstate__(state)


@dataclasses.dataclass(frozen=True, eq=False)
class _Function(Value):
    """A function of `_CALLS`."""

    name: str
    make: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.make(*arguments)
        except TypeError:  # the number of arguments is wrong
            raise UnpickleError(f"it calls {shown(self.name)} with other arguments than PyTorch does") from None


class Names:
    """The names that a pickle may use. Nothing is imported."""

    def __init__(self) -> None:
        self._classes: dict[str, type[Module]] = {}

    def named(self, module: str, name: str) -> type[Module] | Value:
        """The value of a name.

        Raises:
          UnpickleError: it is not one of the few names that models need.
        """
        full = f"{module}.{name}"
        if (module, name) in _CALLS:
            return _Function(full, _CALLS[module, name])
        if module == "torch" and name in DTYPES:
            return Numbers(np.dtype(DTYPES[name]))
        if not any(f"{module}.".startswith(f"{package}.") for package in _PACKAGES):
            raise UnpickleError(
                f"it names {shown(full)}, which does not belong to a model; refused, and nothing was run"
            )
        if full not in self._classes:
            if len(self._classes) >= MOST_CLASSES:
                raise UnpickleError(f"it names more than {MOST_CLASSES} classes, which no model has")
            self._classes[full] = _Kind("Module", (Module,), {"kind": full})
        return self._classes[full]


def is_count(value: Any) -> bool:
    """Whether a value is a whole number of at least 0."""
    return type(value) is int and value >= 0


class Ordered(dict[Any, Any]):
    """The stand-in for an OrderedDict. PyTorch adds the versions of layers to a state_dict; they are not needed."""

    def __setstate__(self, state: Any) -> None:
        """Ignores the versions.

        Raises:
          UnpickleError: the state is not a dict.
        """
        if not isinstance(state, dict):
            raise UnpickleError("it gives a dictionary a state that does not fit")


def _ordered_dict() -> dict[Any, Any]:
    return Ordered()


def _set(items: Any = ()) -> frozenset[str]:
    if not isinstance(items, list | tuple) or not all(type(item) is str for item in items):
        raise UnpickleError("it has a set of other things than names")
    return frozenset(items)


def _attribute(owner: Any, name: Any) -> _Method:
    if not isinstance(owner, Module) or type(name) is not str:
        raise UnpickleError(f"it reads the attribute {shown(name)} of a {shown(owner)}; refused, and nothing was run")
    return _Method(name)


def _encoded(text: Any, codec: Any) -> bytes:
    if type(text) is not str or codec != "latin1" or len(text) > 64:
        raise UnpickleError("it has bytes that are not a NumPy number")
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        raise UnpickleError("it has bytes that are not a NumPy number") from None


def _dtype(code: Any, align: Any = False, copy: Any = True) -> _Dtype:
    if code not in _SCALARS:
        raise UnpickleError(f"it has a NumPy number of the type {shown(code)}, expected {', '.join(_SCALARS)}")
    return _Dtype(code)


def _scalar(dtype: Any, content: Any = b"") -> int | float | bool:
    if not isinstance(dtype, _Dtype) or type(content) is not bytes:
        raise UnpickleError("it has a NumPy number that is not made from a dtype and bytes")
    if len(content) != (wanted := np.dtype(dtype.code).itemsize):
        raise UnpickleError(f"it has a NumPy number of {len(content)} bytes, expected {wanted}")
    return np.frombuffer(content, f"<{dtype.code}")[0].item()


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
