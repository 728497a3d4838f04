"""PyTorch's older streams: what is read, and that what no model has is refused in one line and never run."""

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_file
from torch_file import Call, Name, Object, Persistent, parameter, pickled, tensor

from hcflow_jax.unpickle import Module, Source, Stream, UnpickleError, read_stream, restricted


def load(content: bytes, folder: Path) -> Any:
    """The value of one pickle."""
    file = folder / "one.pickle"
    file.write_bytes(content)
    return restricted.load(Source(file))


def stream(value: Any, storages: dict[str, np.ndarray], folder: Path, **changes: bytes) -> Stream:
    """A stream of a value, read."""
    made = torch_file.Pieces(torch_file.stream("x", value, storages)).but(**changes)
    return read_stream(Source(made.write(folder / "one.stream")))


def refused(act: Any, *said: str) -> None:
    """Asserts that it is refused in one line that says so."""
    with pytest.raises(UnpickleError) as error:
        act()
    text = str(error.value)
    assert "\n" not in text and text.isascii() and len(text) < 400
    assert all(part in text for part in said), text


# What is read


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2, 3.5, None, True, False], "b": ("x", (), (1,), (1, 2, 3), (1, 2, 3, 4)), 3: {}},
        [2**40, -(2**70), "\u00e9\u4e2d", list(range(3_000))],
    ],
)
def test_plain_values(value: Any, tmp_path: Path) -> None:
    assert load(pickle.dumps(value, 2), tmp_path) == value


def test_a_recursive_tuple(tmp_path: Path) -> None:
    """Its pickle takes values off the stack again."""
    inner: list[Any] = []
    inner.append((inner, 5))
    found = load(pickle.dumps(inner[0], 2), tmp_path)
    assert found[1] == 5 and found[0][0] is found


def test_values_that_are_made_by_calls(tmp_path: Path) -> None:
    value = {"number": torch_file.number(-0.3), "names": {"a", "b"}, "dict": Call(Name("collections", "OrderedDict"))}
    assert load(pickled(value), tmp_path) == {"number": -0.3, "names": {"a", "b"}, "dict": {}}


def test_modules_are_stand_ins(tmp_path: Path) -> None:
    root = Object(Name("hflow.network", "MultiStep"), {"training": True})
    root.state["prior"] = Call(Name("__builtin__", "getattr"), (root, "prior"))
    found = stream(root, {}, tmp_path).object
    assert isinstance(found, Module) and found.kind == "hflow.network.MultiStep"
    assert found.state is not None and found.state["training"] is True
    prior = found.state["prior"]
    assert type(prior).__module__ == "hcflow_jax.unpickle.values" and not callable(prior)


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


# What is refused


class Canary:
    """An object whose pickle runs a shell."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


ATTACKS: dict[str, tuple[Any, str]] = {
    "eval": (Call(Name("builtins", "eval"), ("1 / 0",)), "'builtins.eval'"),
    "exec": (Call(Name("__builtin__", "exec"), ("1 / 0",)), "'__builtin__.exec'"),
    "system": (Call(Name("posix", "system"), ("true",)), "'posix.system'"),
    "unknown": (Call(Name("mine", "Thing"), (1,)), "'mine.Thing'"),
    "main": (Object(Name("__main__", "MultiStep"), {}), "'__main__.MultiStep'"),
    "import": (Call(Name("builtins", "__import__"), ("os",)), "'builtins.__import__'"),
    "lookalike": (Name("hflowx.network", "MultiStep"), "'hflowx.network.MultiStep'"),
    "torch": (Name("torch", "load"), "'torch.load'"),
    "sub": (Name("torch._utils", "_import_dotted_name"), "_import_dotted_name"),
    "called class": (Call(Name("hflow.network", "MultiStep"), ()), "it calls 'hflow.network.MultiStep'"),
    "getattr": (Call(Name("builtins", "getattr"), (Name("torch", "FloatStorage"), "__globals__")), "the attribute"),
    "arguments": (Call(Name("torch._utils", "_rebuild_parameter"), (1,)), "other arguments"),
    "no tensor": (Call(Name("torch._utils", "_rebuild_parameter"), (1, True, None)), "not a tensor"),
    "object dtype": (Call(Name("numpy", "dtype"), ("O8", False, True)), "'O8'"),
    "codec": (Call(Name("_codecs", "encode"), ("x", "rot13")), "bytes that are no number"),
    "set of sets": (Call(Name("builtins", "set"), ([()],)), "set of other things"),
    "tuple as key": ({(1, 2): 3}, "for a key"),
    "large key": ({2**61 - 1: 3}, "for a key"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_no_model_has(name: str, tmp_path: Path) -> None:
    value, said = ATTACKS[name]
    refused(lambda: load(pickled(value), tmp_path), said)


def test_a_shell_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for protocol in (0, 1, 2, 3, 4, 5):
        refused(lambda p=protocol: load(pickle.dumps(Canary(canary), p), tmp_path), "")
    assert not canary.exists()
    refused(lambda: load(pickle.dumps(Canary(canary), 2), tmp_path), "'posix.system'", "nothing was run")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80\x02]q\x00" + b"]" * 100_000 + b".", "nests deeper"),
        (b"\x80\x02" + b"(" * 100_000 + b".", "nests deeper"),
        (b"\x80\x02N" + b"r\xff\xff\xff\xff" + b".", "place 4294967295"),
        (b"\x80\x02h\x05.", "has not made"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "2147483647 bytes"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f1.", "damaged"),
        (b"\x80\x05\x8e\xff\xff\xff\xff\xff\x00\x00\x00a.", "protocol 5"),
        (b"\x8e\xff\xff\xff\xff\xff\x00\x00\x00a.", "damaged"),
        (b"\x96\xff\xff\xff\xff\x00\x00\x00\x00a.", "damaged"),
        (b"\x95\xff\xff\xff\xff\x00\x00\x00\x00.", "FRAME"),
        (b"N2\x85.", "DUP"),
        (b"c" + b"a" * 5_000 + b"\nb\n.", "no part of a model"),
        (b"\x82\x01.", "EXT1"),
        (b"(icos\nsystem\n.", "INST"),
        (b"Lnonsense\n.", "damaged"),
        (b"\x80\x02N", "damaged"),
        (b"\x80\x02", "damaged"),
        (b"\x80\x02.", "takes a value where there is none"),
        (b"\x80\x02NN.", "stops before"),
        (b"\x80\x02}Nu.", "not begun"),
        (b"\x80\x02}(X\x01\x00\x00\x00au.", "damaged"),
        (b"\x80\x02Na.", "takes a value where there is none"),
        (b"\x80\x02)Na.", "adds to a list where tuple is"),
        (b"\x80\x02\xff.", "damaged"),
        (b"\x80\x02X\x02\x00\x00\x00\xff\xfe.", "damaged"),
        (b"\x80\x02NQ.", "where nothing is"),
    ],
)
def test_bad_instructions(content: bytes, said: str, tmp_path: Path) -> None:
    refused(lambda: load(content, tmp_path), said)


_STATE = b"}X\x04\x00\x00\x00makeNsb."  # BUILD with {"make": None}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ctorch._utils\n_rebuild_parameter\n" + _STATE, "state that does not fit"),
        (b"chflow.network\nMultiStep\n" + _STATE, "damaged"),
        (b"chflow.network\nMultiStep\n)\x81" + _STATE[:-1] + _STATE, "state that does not fit"),
        (b"chflow.network\nMultiStep\n)\x81Nb.", "state that does not fit"),
        (b"chflow.network\nMultiStep\n(N\x85t\x81.", "with arguments"),
        (b"ctorch\nFloatStorage\n" + _STATE, "state that does not fit"),
        (b"ctorch\nFloatStorage\n)\x81.", "damaged"),
        (b"ctorch\nFloatStorage\n)R.", "damaged"),
        (b"ctorch\nFloatStorage\nNa.", "damaged"),
        (b"chflow.network\nMultiStep\nNNs.", "with a None for a key"),
        (b"chflow.network\nMultiStep\nK\x01Ns.", "damaged"),
        (b"]" + _STATE, "damaged"),
        (b"]N\x86R.", "takes a value where there is none"),
        (b"]NR.", "damaged"),
        (b"}]h\x00.", "has not made"),
        (b"})\x85\x85q\x000h\x00Ns.", "with a tuple for a key"),
        (b"}ccollections\nOrderedDict\n)RNs.", "with a any for a key"),
        (b"}K\x01q\x000X\x01\x00\x00\x00aN(0u.", "takes a value where there is none"),
    ],
)
def test_values_are_not_changed_or_called(content: bytes, said: str, tmp_path: Path) -> None:
    """What the checked instructions could do to the objects that the unpickler gets from us."""
    refused(lambda: load(b"\x80\x02" + content, tmp_path), said)


def test_a_tensors_state_is_not_set(tmp_path: Path) -> None:
    made = tensor("k", np.ones(3, np.float32))
    changed = Call(made.function, made.arguments, {"offset": 2**40})
    refused(lambda: stream(changed, {"k": np.ones(3, np.float32)}, tmp_path), "state that does not fit")


def test_classes_without_end(tmp_path: Path) -> None:
    """A class takes a kilobyte of memory, its name a few bytes."""
    names = b"".join(b"chflow\nC%d\n0" % i for i in range(1_001))
    refused(lambda: load(b"\x80\x02" + names + b"N.", tmp_path), "more than 1000 classes")


def test_instructions_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restricted, "INSTRUCTIONS", 1_000)
    refused(lambda: load(b"\x80\x02" + b"N0" * 1_000 + b"N.", tmp_path), "more than 1000 instructions")
    monkeypatch.setattr(restricted, "BYTES", 100)
    refused(lambda: load(pickle.dumps("x" * 200, 2), tmp_path), "too long")


# Storages and tensors


def _tensor_of(offset: Any, shape: Any, strides: Any, count: int = 6) -> Call:
    identity = Persistent(("storage", Name("torch", "FloatStorage"), "k", "cpu", count, None))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), (identity, offset, shape, strides, False, None))


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
