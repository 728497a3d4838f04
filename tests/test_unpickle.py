"""Pickles of models: what is read, and that what no model has is refused in one line and never run."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch_file
from torch_file import Call, Name, Object, pickled
from unpickle_runs import load, refused, stream

from hcflow_jax.unpickle import Module, restricted

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
    "codec": (Call(Name("_codecs", "encode"), ("x", "rot13")), "bytes that are not a NumPy number"),
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
        (b"c" + b"a" * 5_000 + b"\nb\n.", "does not belong to a model"),
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
        (b"\x80\x02)Na.", "adds to a list, but finds tuple"),
        (b"\x80\x02\xff.", "damaged"),
        (b"\x80\x02X\x02\x00\x00\x00\xff\xfe.", "damaged"),
        (b"\x80\x02NQ.", "which does not exist"),
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


def test_classes_without_end(tmp_path: Path) -> None:
    """A class takes a kilobyte of memory, its name a few bytes."""
    names = b"".join(b"chflow\nC%d\n0" % i for i in range(1_001))
    refused(lambda: load(b"\x80\x02" + names + b"N.", tmp_path), "more than 1000 classes")


def test_instructions_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restricted, "INSTRUCTIONS", 1_000)
    refused(lambda: load(b"\x80\x02" + b"N0" * 1_000 + b"N.", tmp_path), "more than 1000 instructions")
    monkeypatch.setattr(restricted, "BYTES", 100)
    refused(lambda: load(pickle.dumps("x" * 200, 2), tmp_path), "too long")
