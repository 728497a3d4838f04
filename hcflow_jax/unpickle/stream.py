"""Reads a stream of PyTorch's older format: five pickles, and then the storages.

The pickles are a magic number, the protocol, a description of the machine that wrote it, the object, and the keys of
the storages. Each storage is its number of elements (8 bytes) and then the elements. All numbers are little-endian.
"""

import dataclasses
from typing import Any

import numpy as np

from hcflow_jax.unpickle import restricted
from hcflow_jax.unpickle.source import Source, UnpickleError, shown
from hcflow_jax.unpickle.values import Module, Numbers, Storage, Tensor, is_count

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


@dataclasses.dataclass(frozen=True)
class Stream:
    """The contents of a stream.

    Attributes:
      object: dicts, lists, plain values, `Tensor`s, and a `Module` for every module.
      places: storage key -> the position of its first element in the file.
      source: the file.
    """

    object: Any
    places: dict[str, int]
    source: Source

    def array(self, tensor: Tensor) -> np.ndarray:
        """The elements of a tensor, as a read-only view of the file. It may not be aligned."""
        storage = tensor.storage
        whole = np.frombuffer(self.source.bytes, storage.dtype, storage.count, self.places[storage.key])
        strides = [stride * storage.dtype.itemsize for stride in tensor.strides]
        part = whole[tensor.offset :]
        return np.lib.stride_tricks.as_strided(part, tensor.shape, strides, writeable=False)


def read_stream(source: Source) -> Stream:
    """Reads a stream from the position of the source, and moves the source to the byte after it.

    Raises:
      UnpickleError: it is not a stream, is cut short or damaged, or contains other things than tensors, plain values
        and modules.
    """
    if restricted.load(source) != MAGIC:
        raise UnpickleError("it does not begin with PyTorch's magic number: it is of another format, or damaged")
    if (protocol := restricted.load(source)) != PROTOCOL:
        raise UnpickleError(f"its protocol is {_number(protocol)}, expected {PROTOCOL}")
    system = restricted.load(source)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UnpickleError("it was written on a machine that is not little-endian, or is damaged")
    found = Found(source)
    root = restricted.load(source, found.persistent)
    keys = restricted.load(source)
    return Stream(root, _places(source, keys, found.storages), source)


class Found:
    """The things that an object refers to by persistent ids: storages, and the classes of its modules."""

    def __init__(self, source: Source, views: bool = True) -> None:
        """At first it is empty.

        Args:
          source: the file.
          views: whether the id of a storage ends with a view, as in the older format. The view must be None.
        """
        self.storages: dict[str, Storage] = {}
        self._source, self._views = source, views

    def persistent(self, identity: Any) -> Storage | type[Module]:
        """The storage or the class of a persistent id.

        Args:
          identity: ("storage", type, key, location, count, None), or ("module", class, file, source) if PyTorch has
            stored the source text of the class.

        Raises:
          UnpickleError: it is neither.
        """
        kind, *rest = identity if isinstance(identity, tuple) and identity else (None,)
        if kind == "storage" and len(rest) == (5 if self._views else 4):
            return self._storage(*rest)
        if kind == "module" and len(rest) == 3 and _is_class(rest[0]):
            return rest[0]
        raise UnpickleError("it refers to something outside of it that is neither a storage nor a module's class")

    def _storage(self, kind: Any, key: Any, location: Any, count: Any, view: Any = None) -> Storage:
        named = isinstance(kind, Numbers) and type(key) is str and type(location) is str
        if not (named and is_count(count) and view is None):
            raise UnpickleError("it refers to a storage of a kind that PyTorch does not write")
        made = Storage(key, kind.dtype, count)
        if made.count * made.dtype.itemsize > (self._source.left if self._views else len(self._source.bytes)):
            raise UnpickleError(f"storage {shown(key)} claims more than the file has: it is cut short or damaged")
        known = self.storages.setdefault(key, made)
        if (known.dtype, known.count) != (made.dtype, made.count):
            raise UnpickleError(f"storage {shown(key)} is of two types or sizes")
        return known


def _places(source: Source, keys: Any, storages: dict[str, Storage]) -> dict[str, int]:
    """The position of the elements of each storage. Skips all storages."""
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise UnpickleError("its list of storages is not a list of names")
    places: dict[str, int] = {}
    for key in keys:
        storage = storages.get(key)
        if storage is None or key in places:
            raise UnpickleError(f"storage {shown(key)} is listed {'twice' if storage else 'but not used'}")
        try:
            count = source.number(8)
            if count != storage.count:
                raise UnpickleError(f"it has {count} elements here and {storage.count} in the object")
            places[key] = source.skip(count * storage.dtype.itemsize)
        except UnpickleError as error:
            raise UnpickleError(f"storage {shown(key)} ({len(places) + 1} of {len(keys)}): {error}") from None
    if missing := storages.keys() - places.keys():
        raise UnpickleError(f"storage {shown(min(missing))} is used but not in the list of storages")
    return places


def _is_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Module)


def _number(value: Any) -> str:
    return str(value) if type(value) is int and abs(value) < 10**9 else f"a {shown(value)}"
