"""FID's Inception network against torch-fidelity's numbers, and the file of its weights."""

import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import inception_rule
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_file
from golden_data import GOLDEN
from PIL import Image
from safetensors.numpy import save_file

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import extractors, inception, inception_weights
from hcflow_jax.interop import torch_zip

LIMIT = 1e-4  # of the largest value
VECTORS = np.load(GOLDEN / "features" / "inception.npz")

ON_EIGHT = """
import jax, numpy as np
import inception_rule
from hcflow_jax.evaluation import inception
from hcflow_jax.evaluation.features import features
assert jax.device_count() == 8
vectors = np.load("golden/features/inception.npz")
wanted = vectors["features/32/2048"]
images = np.concatenate([vectors["images/32"]] * 5)
found = np.concatenate(list(features(inception.features, inception.arrange(inception_rule.weights()), images, 1)))
assert found.shape == (10, 2048)
assert np.abs(found - np.concatenate([wanted] * 5)).max() < 1e-4 * np.abs(wanted).max()
"""


@functools.cache
def _network() -> tuple[dict[str, np.ndarray], jax.stages.Wrapped]:
    return inception.arrange(inception_rule.weights()), jax.jit(inception.taps)  # compiled once for all sizes


@pytest.mark.parametrize("size", [32, 64, 128, 256, 299, 320])
def test_resizing_is_tensorflows(size: int) -> None:
    resized = np.asarray(inception.resize(VECTORS[f"images/{size}"].astype(np.float32)))
    assert resized.shape == (2, 299, 299, 3)
    np.testing.assert_allclose(resized[:1, :24, :24], VECTORS[f"resized/{size}"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("size", [8, 32, 64, 256, 299, 320, 512])
def test_the_bicubic_filter_is_pillows(size: int) -> None:
    """Of each channel as floats, which are not rounded."""
    images = np.random.default_rng(size).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    resized = np.asarray(inception.bicubic(jnp.asarray(images, jnp.float32)))
    assert resized.shape == (2, 299, 299, 3) and (size > 320 or size == 299 or resized.min() < -10)
    for i, channel in ((0, 0), (1, 2)):
        picture = Image.fromarray(images[i, :, :, channel].astype(np.float32))
        wanted = np.asarray(picture.resize((299, 299), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(resized[i, :, :, channel], wanted, rtol=0, atol=0.02)


def test_each_protocol_gives_the_network_its_own_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "taps", lambda weights, x: {"2048": x})
    images = np.full((1, 64, 64, 3), 192, np.uint8)
    images[:, :, 32:] = 0
    inputs = {name: np.asarray(network({}, jnp.asarray(images))) for name, network in extractors.NETWORKS.items()}
    resized = np.asarray(inception.bicubic(jnp.asarray(images, jnp.float32))).clip(0, 255)  # as clean-fid 0.1.35
    np.testing.assert_allclose(inputs[extractors.CLEAN_FID], (resized - 128) / 128, atol=1e-6)
    np.testing.assert_allclose(
        [inputs[name][0, 9, 9, 0] for name in inputs], [0.5, 2 * 192 / 255 - 1, 0.5], atol=1e-6
    )
    across = [inputs[name][0, 0, :, 0] for name in extractors.PROTOCOLS]
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(across, 2)) > 0.1


@pytest.mark.full
@pytest.mark.parametrize("size", [32, 64, 128, 256, 299, 320])
def test_features_are_torch_fidelitys(size: int) -> None:
    arrays, taps = _network()
    found = taps(arrays, inception.as_tensorflow(VECTORS[f"images/{size}"]))
    compared = [name for name in inception.TAPS if f"features/{size}/{name}" in VECTORS]
    assert len(compared) == (6 if size == 64 else 3)
    for name in compared:
        wanted = VECTORS[f"features/{size}/{name}"]
        assert np.abs(found[name] - wanted).max() < LIMIT * np.abs(wanted).max(), name


@pytest.mark.full
def test_features_on_eight_devices() -> None:
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT], cwd=Path(__file__).parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# The file


def _safetensors(path: Path, flat: dict[str, np.ndarray]) -> None:
    save_file(flat, path)


def _old(path: Path, flat: dict[str, np.ndarray]) -> None:
    root = {name: torch_file.tensor(name, array) for name, array in flat.items()}
    torch_file.Pieces(dict(torch_file.stream("weights", root, flat))).write(path)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(_safetensors, marks=pytest.mark.full, id="safetensors"),
        pytest.param(_old, marks=pytest.mark.full, id="old"),
        pytest.param(torch_zip.write, id="zip"),
    ],
)
def test_every_format_is_read_whatever_its_name(write, tmp_path: Path) -> None:
    flat = inception_rule.weights() | {"Conv2d_1a_3x3.bn.num_batches_tracked": np.zeros((), np.float32)}
    write(tmp_path / "some.file", flat)
    found = inception_weights.read(tmp_path / "some.file")
    for name, array in inception.arrange(inception_rule.weights()).items():
        np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)
    assert len(found.sha256) == 64 and found.file.name == "some.file"


def _with(**changed: np.ndarray | None) -> dict[str, np.ndarray]:
    flat = {**inception_rule.weights(), **{name.replace("__", "."): array for name, array in changed.items()}}
    return {name: array for name, array in flat.items() if array is not None}


@pytest.mark.parametrize(
    "flat, said",
    [
        (lambda: _with(fc__weight=np.zeros((1000, 2048), np.float32)), "torchvision"),
        (lambda: _with(AuxLogits__fc__weight=np.zeros((1000, 768), np.float32)), "torchvision"),
        (lambda: {"conv1.weight": np.zeros((2, 2), np.float32)}, "belongs to another network"),
        (lambda: _with(fc__bias=None), "no tensor 'fc.bias'"),
        (lambda: _with(fc__bias=np.zeros(1007, np.float32)), r"fc.bias has shape \(1007,\)"),
        (lambda: _with(fc__bias=np.full(1008, np.nan, np.float32)), "not finite"),
    ],
    ids=["torchvision", "auxiliary", "other", "missing", "shape", "nan"],
)
def test_other_weights_are_refused(flat, said: str, tmp_path: Path) -> None:
    save_file(flat(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=rf"w\.safetensors: .*{said}"):
        inception_weights.read(tmp_path / "w.safetensors")


def test_no_file_and_no_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone.pth: cannot be read"):
        inception_weights.read(tmp_path / "gone.pth")
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="empty: the file is empty"):
        inception_weights.read(tmp_path / "empty")
    (tmp_path / "cut").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="cut: it is not a complete zip file"):
        inception_weights.read(tmp_path / "cut")


def test_the_environment_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(inception_weights.VARIABLE, raising=False)
    assert inception_weights.find() is None
    monkeypatch.setenv(inception_weights.VARIABLE, "/some/file")
    assert inception_weights.find() == Path("/some/file")
    assert inception_weights.find("given") == Path("given")
