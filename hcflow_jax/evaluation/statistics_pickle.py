"""Reads statistics in EDM2's format, a pickle of dicts of numpy arrays, without running any code from the file."""

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation.moments import Statistics, as_statistics

BYTES = 2**28  # size limit of a file; statistics of 2,048 dimensions take 34 MB
INSTRUCTIONS = 100_000  # limit on the instructions of a pickle
KEY = "fid"  # the key of Inception's statistics in the file's dict

_DTYPES = ("f8", "f4", "f2", "i8", "i4", "u1")
_DAMAGED = (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError)


def read(path: Path) -> Statistics:
    """Reads the statistics of Inception's features.

    Raises:
      InputError: the file is damaged or too large, refers to anything but numpy arrays, or has no such statistics.
      OSError: the file cannot be read.
    """
    content = path.read_bytes() if path.stat().st_size <= BYTES else b""
    if not content:
        raise InputError(f"is larger than any statistics ({BYTES} bytes at most)")
    try:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(content)):
            if number > INSTRUCTIONS:
                raise InputError("has more instructions than any statistics")
            if (
                instruction.name.endswith("PUT") and int(argument or 0) > number
            ):  # the unpickler would allocate memory for all indices up to this one
                raise InputError("is damaged (it refers to a place in its memory that does not exist)")
        found = _Unpickler(io.BytesIO(content)).load()
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"is damaged, or not a pickle of statistics ({error})") from None
    part = found.get(KEY, found) if isinstance(found, dict) else None
    if not isinstance(part, dict) or "mu" not in part or "sigma" not in part:
        raise InputError(f"holds no mu and sigma of {KEY!r}")
    mu, sigma = part["mu"], part["sigma"]
    if not (isinstance(mu, _Array) and isinstance(sigma, _Array)):
        raise InputError("mu or sigma is not an array")
    return as_statistics(mu.array(), sigma.array())


class _Dtype:
    """Stand-in for a numpy dtype."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if code not in _DTYPES:
            raise InputError("has an array of another type than numbers")
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|"):
            raise InputError("has an array that is not little-endian")
        self.order = state[1]


class _Array:
    """Stand-in for a numpy array: its shape, dtype and bytes. They are checked before an array is made."""

    def __init__(self, *_: Any) -> None:
        self._state: tuple[Any, ...] | None = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or self._state is not None:
            raise InputError("has an array that numpy did not write")
        self._state = state

    def array(self) -> np.ndarray:
        """The array, with the stored shape and dtype.

        Raises:
          InputError: the stored values do not describe a numpy array.
        """
        if self._state is None:
            raise InputError("has an array without its values")
        _, shape, dtype, fortran, content = self._state
        counts = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not (counts and isinstance(dtype, _Dtype) and isinstance(content, bytes)):
            raise InputError("has an array that numpy did not write")
        kind = np.dtype(dtype.order.replace("|", "<") + dtype.code)
        if len(content) != kind.itemsize * int(np.prod(shape, dtype=object)):
            raise InputError("has an array whose values are cut short")
        return np.frombuffer(content, kind).reshape(shape, order="F" if fortran is True else "C")


def _reconstructed(*_: Any) -> _Array:
    return _Array()


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    made = _Array()
    made.__setstate__((1, shape, dtype, order == "F", bytes(content)))
    return made


def _encoded(text: Any, codec: Any) -> bytes:
    if not isinstance(text, str) or codec != "latin1":
        raise InputError("has bytes that numpy did not write")
    return text.encode("latin1")


_ALLOWED = {
    ("_codecs", "encode"): _encoded,
    ("numpy.core.multiarray", "_reconstruct"): _reconstructed,
    ("numpy._core.multiarray", "_reconstruct"): _reconstructed,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) not in _ALLOWED:
            raise InputError(
                f"names {f'{module}.{name}'!a}, which statistics do not need; refused, and nothing was run"
            )
        return _ALLOWED[module, name]
