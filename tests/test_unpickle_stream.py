"""PyTorch's older streams: tensors are the file's own bytes, and what a file claims is held against what it has."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_file import Call, Name, Persistent, parameter, pickled, tensor
from unpickle_runs import refused, stream

from hcflow_jax.unpickle import Source


def _tensor_of(offset: Any, shape: Any, strides: Any, count: int = 6) -> Call:
    identity = Persistent(("storage", Name("torch", "FloatStorage"), "k", "cpu", count, None))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), (identity, offset, shape, strides, False, None))


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("FloatStorage", "f4"), ("DoubleStorage", "f8"), ("HalfStorage", "f2"), ("LongStorage", "i8")],
)
def test_tensors_are_the_files_own_bytes(kind: str, dtype: str, tmp_path: Path) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    other = np.arange(5, dtype="f4")
    value = {"x": parameter(tensor("k", array, kind)), "y": tensor("a", other)}
    found = stream(value, {"k": array, "a": other}, tmp_path)
    read = found.array(found.object["x"])
    assert read.dtype == array.dtype and not read.flags.writeable and not read.flags.owndata
    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(found.array(found.object["y"]), other)


def test_a_part_of_a_storage(tmp_path: Path) -> None:
    whole = np.arange(20, dtype=np.float32)
    part = _tensor_of(3, (2, 4), (8, 2), count=20)
    found = stream(part, {"k": whole}, tmp_path)
    np.testing.assert_array_equal(found.array(found.object), whole[3:19].reshape(2, 8)[:, ::2])


def test_a_tensors_state_is_not_set(tmp_path: Path) -> None:
    made = tensor("k", np.ones(3, np.float32))
    changed = Call(made.function, made.arguments, {"offset": 2**40})
    refused(lambda: stream(changed, {"k": np.ones(3, np.float32)}, tmp_path), "state that does not fit")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (_tensor_of(1, (2, 3), (3, 1)), "outside of its storage 'k'"),
        (_tensor_of(0, (2, 3), (4, 1)), "outside of its storage 'k'"),
        (_tensor_of(0, (1_000_000, 1_000_000), (0, 0)), "outside of its storage 'k'"),
        (_tensor_of(0, (2**62, 2**62), (0, 0)), "too many elements"),
        (_tensor_of(-1, (2, 3), (3, 1)), "no proper offset"),
        (_tensor_of(0, (2, -3), (3, 1)), "no proper offset"),
        (_tensor_of(0, (2, 3), (3,)), "no proper offset"),
        (_tensor_of(0, [6], [1]), "no proper offset"),
        (_tensor_of(0, (6.0,), (1,)), "no proper offset"),
        (_tensor_of(0, (True,), (1,)), "no proper offset"),
        (_tensor_of(0, (1,) * 9, (1,) * 9), "no proper offset"),
        (_tensor_of(7, (0,), (1,)), "outside of its storage"),
    ],
)
def test_a_tensor_outside_of_its_storage(made: Call, said: str, tmp_path: Path) -> None:
    refused(lambda: stream(made, {"k": np.zeros(6, np.float32)}, tmp_path), said)


FLOAT = Name("torch", "FloatStorage")


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (("storage", FLOAT, "k", "cpu", 2**40, None), "claims more than the file has"),
        (("storage", FLOAT, "k", "cpu", -1, None), "does not write"),
        (("storage", FLOAT, 5, "cpu", 1, None), "does not write"),
        (("storage", FLOAT, "k", "cpu", 1, ("v", 0, 1)), "does not write"),
        (("storage", FLOAT, "k", "cpu"), "neither a storage nor"),
        (("storage", Name("hflow.network", "FloatStorage"), "k", "cpu", 1, None), "does not write"),
        (("module", Name("torch", "FloatStorage"), "a.py", "source"), "neither a storage nor"),
        (("module", "os", "a.py", "source"), "neither a storage nor"),
        ("storage", "neither a storage nor"),
        ((), "neither a storage nor"),
        (("storage", FLOAT, Persistent(("storage", FLOAT, "k", "cpu", 0, None)), "cpu", 0, None), "does not write"),
        ((Persistent(("storage", FLOAT, "k", "cpu", 0, None)),), "neither a storage nor"),
    ],
)
def test_what_lies_outside(identity: Any, said: str, tmp_path: Path) -> None:
    refused(lambda: stream(Persistent(identity), {}, tmp_path), said)


ONE = np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x_magic": pickled(1)}, "magic number"),
        ({"x_magic": b"\x93NUMPY\x01"}, "pickle at byte 0"),
        ({"x_protocol": pickled(1002)}, "protocol is 1002"),
        ({"x_protocol": pickled("1001")}, "protocol is a '1001'"),
        ({"x_system": pickled({"little_endian": False})}, "not little-endian"),
        ({"x_system": pickled([])}, "not little-endian"),
        ({"x_keys": pickled({"k": 1})}, "not a list of names"),
        ({"x_keys": pickled([["k"]])}, "not a list of names"),
        ({"x_keys": pickled([])}, "'k' is used but not in the list"),
        ({"x_keys": pickled(["other"])}, "'other' is listed but not used"),
        ({"x_keys": pickled(["k", "k"])}, "'k' is listed twice"),
        ({"x_count/k": struct.pack("<q", 2)}, "2 elements here and 3"),
        ({"x_count/k": struct.pack("<q", -1)}, "18446744073709551615 elements"),
        ({"x_count/k": b"", "x_data/k": b""}, "8 bytes are claimed"),
        ({"x_data/k": b"\0" * 11}, "'k' (1 of 1): 12 bytes are claimed"),
    ],
)
def test_a_stream_that_does_not_fit(changes: dict[str, bytes], said: str, tmp_path: Path) -> None:
    whole = stream(tensor("k", ONE), {"k": ONE}, tmp_path)
    np.testing.assert_array_equal(whole.array(whole.object), ONE)
    refused(lambda: stream(tensor("k", ONE), {"k": ONE}, tmp_path, **changes), said)


def test_a_storage_of_two_kinds(tmp_path: Path) -> None:
    both = [tensor("k", ONE), tensor("k", ONE, "IntStorage")]
    refused(lambda: stream(both, {"k": ONE}, tmp_path), "'k' is of two types or sizes")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    refused(lambda: Source(tmp_path / "empty"), "empty")
