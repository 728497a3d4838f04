"""Checkpoints for the authors' network: every name, shape and value of their own file."""

from pathlib import Path
from typing import Any

import golden_model
import numpy as np
import pytest
from golden_data import GOLDEN
from safetensors.numpy import load_file

from hcflow_jax import checkpoint
from hcflow_jax.interop import constants, export_torch, release, torch_zip

OFFICIAL = GOLDEN / "ckpt_tiny_a" / "official_format.bin"
DEAD = {
    f"blocks.{block}.learned_upscaler.components.{component}.conv_d_pred_{i}.b"
    for block, component in ((0, 0), (1, 1))
    for i in (2, 3)
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    checkpoint.save_weights(folder / "run", golden_model.params(), golden_model.config())
    return folder / "run"


def assert_same(flat: dict[str, Any]) -> None:
    """The 921 tensors of the authors' file; zeros for what has no effect."""
    theirs = release.read(OFFICIAL).flat
    assert set(flat) == set(theirs) and len(flat) == 921
    for name, array in flat.items():
        wanted = np.zeros_like(theirs[name]) if name in DEAD else theirs[name]
        assert array.dtype == np.float32 and array.shape == wanted.shape, name
        np.testing.assert_array_equal(array, wanted, name)


def test_safetensors(workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.safetensors"
    assert export_torch.main([str(workdir), "--out", str(file)]) == 0
    assert "921 tensors" in capsys.readouterr().out
    assert_same(load_file(file))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_the_same_model_is_the_same_file(tmp_path: Path) -> None:
    flat = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
    torch_zip.write(tmp_path / "a.pt", flat)
    torch_zip.write(tmp_path / "b.pt", flat)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_a_base_that_is_all_masked_has_a_kernel_of_zeros() -> None:
    config = golden_model.config().copy_and_resolve_references()
    config.model.top.base_masked = (0, 32)
    dead = constants.without_effect({"x.conv_d_pred_2.w": np.ones((5, 4, 3, 3), np.float32)}, config)
    assert {name: array.shape for name, array in dead.items()} == {
        "x.conv_d_pred_2.b": (5,),
        "endblock_split_conv.w": (32, 32, 1, 1),
    }
    assert not any(array.any() for array in dead.values())


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("x.bin", "ends in .safetensors or .pt"),
        ("there.pt", "exists already"),
        ("no/x.pt", "no is not a directory"),
        ("no/x.safetensors", "no is not a directory"),
    ],
)
def test_mistakes_give_one_line(out: str, said: str, workdir: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "there.pt").write_bytes(b"mine")
    assert export_torch.main([str(workdir), "--out", str(tmp_path / out)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0]
    assert (tmp_path / "there.pt").read_bytes() == b"mine" and len(list(tmp_path.iterdir())) == 1


def test_no_checkpoint_gives_one_line(tmp_path: Path, capsys: Any) -> None:
    assert export_torch.main([str(tmp_path / "run"), "--out", str(tmp_path / "x.pt")]) == 2
    assert "no such directory" in capsys.readouterr().err
