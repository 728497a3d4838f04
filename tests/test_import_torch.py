"""The authors' checkpoints brought in: bit for bit, or not at all and one line that says why."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import golden_model
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_file
import torch_model
from golden_data import GOLDEN, assert_close, group, load, nhwc, settings
from torch_file import Call, Name, Pieces, pickled

from hcflow_jax import checkpoint
from hcflow_jax.interop import arrays, import_torch, release
from hcflow_jax.models.hierarchy.objective import objective

OFFICIAL = GOLDEN / "ckpt_tiny_a" / "official_format.bin"
LAYER = "blocks.0.blocks.steps.1.coupling.conv_1.w"


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small model's shapes, from its first test."""
    known = SimpleNamespace(shapes=torch_model.shapes)
    monkeypatch.setattr(arrays, "models", SimpleNamespace(build=lambda _: known))


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Imports a file; gives the status, and the lines of stdout and stderr."""

    def run(file: Path | Pieces, *more: str) -> tuple[int, list[str], list[str]]:
        if isinstance(file, Pieces):
            file = file.write(tmp_path / "model.bin")
        status = import_torch.main([str(file), "--out", str(tmp_path / "out"), *more])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err.splitlines()

    return run


@pytest.fixture
def refused(command: Any, tmp_path: Path) -> Callable[..., None]:
    """Asserts that a file is refused in one line that names it and says so, and that nothing is left."""

    def check(file: Path | Pieces, *said: str, more: tuple[str, ...] = ()) -> None:
        status, out, err = command(file, *more)
        assert status == 2 and not out and len(err) == 1, (status, out, err)
        name = file if isinstance(file, Path) else "model.bin"
        assert err[0].startswith("error: ") and str(name) in err[0]
        assert all(part in err[0] for part in said), err[0]
        assert not [path.name for path in tmp_path.iterdir() if "out" in path.name]

    return check


# The authors' file


def test_the_authors_file_is_the_models(command: Any, tmp_path: Path) -> None:
    status, out, err = command(OFFICIAL)
    assert (status, err) == (0, [])
    assert "264,126 parameters" in out[0] and "levels 64, 32, 8" in out[0] and str(OFFICIAL) in out[0]
    found = checkpoint.load(tmp_path / "out")
    assert found.step == 0 and (tmp_path / "out" / "checkpoints" / "0" / "seal.json").exists()
    jax.tree.map(np.testing.assert_array_equal, found.arrays["ema"], golden_model.params())
    ours = golden_model.config().copy_and_resolve_references()
    ours.execution.dtype = "auto"
    assert checkpoint.config_to_plain(found.config) == checkpoint.config_to_plain(ours)
    assert found.metadata["imported"]["file"] == "official_format.bin"


def test_every_tensor_is_read() -> None:
    found = release.read(OFFICIAL)
    assert found.module == "hflow.network" and len(found.flat) == 921 and found.settings is not None
    assert found.settings["MODEL_PARAMETERS"] == settings()["MODEL_PARAMETERS"]
    for name, array in group(load("tiny_a/params"), "param/").items():
        np.testing.assert_array_equal(found.flat[name], array, name)


@pytest.mark.full
def test_the_imported_model_gives_the_authors_numbers(command: Any, tmp_path: Path) -> None:
    """Latents, samples and the loss, of what lies in the workdir."""
    assert command(OFFICIAL)[0] == 0
    params, model = checkpoint.load(tmp_path / "out").arrays["ema"], golden_model.model()
    forward, sample, loss = (load(f"tiny_a/{name}") for name in ("forward", "sample", "loss_noise"))
    x = nhwc(forward["x"])
    z = jax.jit(lambda p: model.encode(model.prepare(p), x)[0])(params)
    vector = nhwc(sample["Z/1"])
    given = {"prior": vector[:, :4], "y1": vector[:, 4:], **{n: nhwc(sample[f"Z/{n}"]) for n in ("8", "32", "64")}}
    decoded = jax.jit(lambda p, z: model.decode(model.prepare(p), z))(params, given)
    eps = golden_model.recorded_noise("loss_noise")
    result = jax.jit(lambda p, eps: objective(model, p, x, eps).loss)(params, eps)
    for name in ("64", "32", "8"):
        assert_close(z[name], nhwc(forward[f"z/{name}"]), f"z/{name}")
    assert_close(jnp.concatenate([z["prior"], z["y1"]], -1), nhwc(forward["z/1"]), "z/1")
    assert_close(decoded, nhwc(sample["image"]), "image")
    assert_close(result, loss["loss"][:, 0], "loss", relative=0, absolute=2e-4)


# Files that are not whole


def test_a_file_cut_short_anywhere(refused: Any, tmp_path: Path) -> None:
    file = torch_model.file()
    content, places = file.content(), file.places()
    pieces = {name.split("/")[0]: place for name, place in reversed(places.items())}  # the first storage of each
    for start, end in pieces.values():
        for cut in {start + 1, (start + end) // 2, end - 1} - {0}:
            (tmp_path / "cut.bin").write_bytes(content[:cut])
            refused(tmp_path / "cut.bin")
    (tmp_path / "cut.bin").write_bytes(b"")
    refused(tmp_path / "cut.bin", "empty")
    for piece, section in (("network_magic", "the network"), ("optimizer_magic", "the optimizer's state")):
        (tmp_path / "cut.bin").write_bytes(content[: places[piece][0]])
        refused(tmp_path / "cut.bin", f"where {section} should begin")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network_magic": pickled(7)}, "magic number"),
        ({"module": b"PK\x03\x04" + b"\0" * 30}, "zip format"),
        ({"module": b"\x89PNG\r\n\x1a\n"}, "of another format"),
        ({"settings": b'\x05\0\0\0{"a":'}, "not JSON"),
        ({"settings": b"\x02\0\0\0[]"}, "not a JSON object"),
        ({"settings": b'\x0a\0\0\0{"a":1e999'}, "not JSON"),
        ({"settings": b"\x02\0\0\0{}"}, "no MODEL_PARAMETERS"),
        ({"settings": b"\x02\0\0\0{}more"}, "4 bytes follow"),
        ({"settings": torch_file.section(b"[" * 200_000)}, "not JSON"),
    ],
)
def test_a_file_of_another_kind(changes: dict[str, bytes], said: str, refused: Any) -> None:
    refused(torch_model.file().but(**changes), said)


def test_a_network_that_is_none(refused: Any) -> None:
    file = torch_file.pieces({}, None, moments=False)
    refused(file.but(network_object=pickled([1])), "the network is a list, expected the authors' MultiStep")


# Pickles that would do something


def _hidden(call: Call) -> bytes:
    root = torch_file.network(torch_model.flat())
    root.state["_modules"]["endblock_split_conv"].state["more"] = [{"deep": (call,)}]
    return pickled(root)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call(Name("posix", "system"), ("touch {canary}",)), "'posix.system'"),
        (Call(Name("builtins", "eval"), ("open('{canary}', 'w')",)), "'builtins.eval'"),
        (Call(Name("__main__", "Model"), ("{canary}",)), "'__main__.Model'"),
        (Call(Name("hflow.network", "MultiStep"), ("{canary}",)), "it calls"),
    ],
)
def test_nothing_is_run(call: Call, said: str, refused: Any, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    arguments = tuple(text.replace("{canary}", str(canary)) for text in call.arguments)
    refused(torch_model.file().but(network_object=_hidden(Call(call.function, arguments))), said, "nothing was run")
    assert not canary.exists()


def test_modules_that_multiply(refused: Any) -> None:
    """40 modules, each twice in the next: 2^40 to walk through."""
    inner = torch_file.network({"w": np.zeros(1, np.float32)})
    for _ in range(40):
        outer = torch_file.network({})
        outer.state["_modules"] = {"a": inner, "b": inner}
        inner = outer
    file = torch_file.pieces({"w": np.zeros(1, np.float32)}, None, moments=False)
    refused(file.but(network_object=pickled(inner)), "is there twice")


# Networks that are not the settings'


def _changed(**changes: Any) -> Pieces:
    flat = {**torch_model.flat(), **{LAYER: torch_model.flat()[LAYER].copy()}}
    for name, value in changes.items():
        if value is None:
            del flat[name]
        else:
            flat[name] = value
    return torch_file.pieces(flat, torch_model.settings(), moments=False)


def _with_nan() -> np.ndarray:
    array = torch_model.flat()[LAYER].copy()
    array.flat[3] = np.nan
    return array


MASK = "blocks.0.blocks.steps.0.coupling.mask_in"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blocks.7.extra.w": np.ones((2, 2), np.float32)}, "'blocks.7.extra.w'"),
        ({"blocks.7.coupling.mask_in": np.ones((1, 2), np.float32)}, "'blocks.7.coupling.mask_in'"),
        ({LAYER: None}, f"no '{LAYER}'"),
        ({LAYER: np.ones((4, 3, 1, 1), np.float32)}, f"{LAYER} has shape (4, 3, 1, 1)"),
        ({LAYER: _with_nan()}, f"{LAYER} has a value that is not finite"),
        ({MASK: np.ones((1, 3, 16, 16), np.float32)}, f"{MASK} differs from what the config makes"),
        ({MASK: np.ones((1, 3, 8, 8), np.float32)}, f"{MASK} differs from what the config makes"),
    ],
    ids=["layer", "mask", "missing", "shape", "nan", "other mask", "mask of another shape"],
)
@pytest.mark.usefixtures("traced_once")
def test_a_network_that_does_not_fit(changes: dict[str, Any], said: str, refused: Any) -> None:
    refused(_changed(**changes), said)


def test_an_actnorm_without_its_values(refused: Any) -> None:
    for flag in (False, 1, None):
        file = torch_file.pieces(torch_model.flat(), torch_model.settings(), initialised=flag, moments=False)
        refused(file, "actnorm' was not initialised")


def test_doubles_are_refused(refused: Any) -> None:
    array = np.ones((2, 2))
    root = torch_file.network({})
    root.state["_parameters"] = {"w": torch_file.tensor("w", array, "DoubleStorage")}
    file = torch_file.pieces({"w": array}, None, moments=False)
    refused(file.but(network_object=pickled(root)), "'w' is of float64, expected float32")


# Settings, configs and workdirs


@pytest.mark.usefixtures("traced_once")
def test_a_file_without_settings_takes_a_config(command: Any, refused: Any, tmp_path: Path) -> None:
    file = torch_file.pieces(torch_model.flat(), None, moments=False)
    refused(file, "the file has no settings; give its config with --config")
    (tmp_path / "given.py").write_text("import torch_model\n\ndef get_config():\n    return torch_model.config()\n")
    status, _, err = command(file, f"--config={tmp_path / 'given.py'}")
    assert (status, err) == (0, [])
    found = checkpoint.load(tmp_path / "out")
    back = arrays.to_torch(found.arrays["ema"], found.config)
    for name, array in back.items():
        np.testing.assert_array_equal(array, torch_model.flat()[name], name)


@pytest.mark.usefixtures("traced_once")
def test_a_config_says_where_the_images_are(command: Any, tmp_path: Path) -> None:
    lines = (
        "c = torch_model.config().copy_and_resolve_references()",
        "c.data.path, c.data.bits = 'here', 5",
        "return c",
    )
    body = "".join(f"    {line}\n" for line in lines)
    (tmp_path / "given.py").write_text(f"import torch_model\n\n\ndef get_config():\n{body}")
    assert command(torch_model.file(), f"--config={tmp_path / 'given.py'}")[0] == 0
    data = checkpoint.load(tmp_path / "out").config.data
    assert (data.path, data.bits, data.resolution) == ("here", 8, 16)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nowhere/model.bin", "--out", "{out}"], "/nowhere/model.bin cannot be read (No such file"),
        (["{folder}", "--out", "{out}"], "cannot be read (Is a directory"),
        (["model.bin"], "--out"),
        ([str(OFFICIAL), "--out", "{folder}"], "is there already"),
        ([str(OFFICIAL), "--out", "{out}", "--config=absent.py"], "absent.py: no such config file"),
        ([str(OFFICIAL), "--out", "{out}", "--config={folder}/wrong.py"], "wrong.py: ZeroDivisionError"),
        ([str(OFFICIAL), "--out", "{out}", "--confg=x"], "--confg"),
    ],
)
def test_mistakes_give_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "dont_write_bytecode", False
    )  # a __pycache__ would be seen, whatever the environment says
    (tmp_path / "wrong.py").write_text("1 / 0\n")
    given = [text.replace("{out}", str(tmp_path / "out")).replace("{folder}", str(tmp_path)) for text in arguments]
    assert import_torch.main(given) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0]
    assert sorted(os.listdir(tmp_path)) == ["wrong.py"]
