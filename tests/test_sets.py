"""The sets on which flows are compared: their configs, and what tensorflow-datasets makes of small archives."""

import importlib
import io
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.features import image_feature
from tensorflow_datasets.image_classification import cifar

from hcflow_jax.config import ConfigError
from hcflow_jax.data import open_source, preprocessing
from hcflow_jax.models.hierarchy import build

NAMES = ("cifar10", "imagenet32", "imagenet64")
COUNTS = {"train": 5, "held_out": 3}


def load(name: str, *version: str) -> Any:
    return importlib.import_module(f"configs.{name}").get_config(*version)


def pictures(split: str, side: int) -> np.ndarray:
    """Noise: whatever is lost on the way is seen."""
    rng = np.random.default_rng([len(split), side])
    return rng.integers(0, 256, (COUNTS[split], side, side, 3), dtype=np.uint8)


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


# The archives as their publishers wrote them.


def _cifar(folder: Path) -> None:
    inside = folder / "cifar-10-batches-bin"
    inside.mkdir()
    (inside / "batches.meta.txt").write_text("\n".join(f"class{i}" for i in range(10)))
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        images = pictures("held_out", 32) if name == "test_batch" else pictures("train", 32)[int(name[-1]) - 1 :][:1]
        rows = [bytes([i % 10]) + image.transpose(2, 0, 1).tobytes() for i, image in enumerate(images)]
        (inside / f"{name}.bin").write_bytes(b"".join(rows))


def _downsampled(folder: Path, side: int) -> None:
    for split, name in (("train", "train"), ("held_out", "valid")):
        with tarfile.open(folder / f"{name}_{side}x{side}.tar", "w") as archive:
            for i, image in enumerate(pictures(split, side)):
                member = tarfile.TarInfo(f"{name}_{side}x{side}/{i}.png")
                content = _png(image)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def _resized(folder: Path, side: int) -> None:
    def write(name: str, file: str, images: np.ndarray) -> None:
        arrays = io.BytesIO()
        flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        np.savez(arrays, data=flat, labels=np.arange(1, len(images) + 1))
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(file, arrays.getvalue())

    train = pictures("train", side)
    if side == 64:
        write("Imagenet64_train_part1_npz.zip", "train_data_batch_1.npz", train[:2])
        write("Imagenet64_train_part2_npz.zip", "train_data_batch_2.npz", train[2:])
    else:
        write(f"Imagenet{side}_train_npz.zip", "train_data_batch_1.npz", train)
    write(f"Imagenet{side}_val_npz.zip", "val_data.npz", pictures("held_out", side))


class _Downloads:
    """Finds in a folder what would be downloaded."""

    downloaded_size = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def download(self, urls: list[str]) -> list[Path]:
        return [self.folder / url.rpartition("/")[2] for url in urls]

    def download_and_extract(self, url: str) -> str:
        return str(self.folder)

    def iter_archive(self, path: Path) -> Any:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield from ((name, archive.open(name)) for name in archive.namelist())
        else:
            with tarfile.open(path) as archive:
                yield from ((member.name, archive.extractfile(member)) for member in archive)


def _prepare(name: str, archives: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prepares a set with its real builder, for which Pillow stands in for TensorFlow."""
    monkeypatch.setattr(cifar, "tf", SimpleNamespace(io=SimpleNamespace(gfile=SimpleNamespace(GFile=open))))
    monkeypatch.setattr(image_feature._ImageEncoder, "_encode_image", lambda self, array: _png(array))
    builder: Any = tfds.builder(name, data_dir=archives / "data", file_format="array_record")
    monkeypatch.setattr(builder, "_make_download_manager", lambda **_: _Downloads(archives))
    builder.download_and_prepare()
    return archives / "data"


SETS = [
    ("cifar10", (), "cifar10", _cifar),
    ("imagenet32", (), "downsampled_imagenet/32x32", lambda folder: _downsampled(folder, 32)),
    ("imagenet32", ("resized",), "imagenet_resized/32x32", lambda folder: _resized(folder, 32)),
    ("imagenet64", (), "downsampled_imagenet/64x64", lambda folder: _downsampled(folder, 64)),
    ("imagenet64", ("resized",), "imagenet_resized/64x64", lambda folder: _resized(folder, 64)),
]


@pytest.mark.parametrize(("name", "version", "builder", "write"), SETS, ids=[each[2] for each in SETS])
def test_a_sets_own_splits_come_out_exactly(name, version, builder, write, tmp_path, monkeypatch) -> None:
    config = load(name, *version)
    assert (config.data.source, config.data.name) == ("tfds", builder)
    write(tmp_path)
    config.data.path = str(_prepare(builder, tmp_path, monkeypatch))
    side = config.data.resolution
    for source, ours in ((open_source(config, "train"), "train"), (open_source(config, "eval"), "held_out")):
        read = sorted(np.asarray(source[i]).tobytes() for i in range(len(source)))
        assert read == sorted(image.tobytes() for image in pictures(ours, side))


@pytest.mark.parametrize("name", NAMES)
def test_a_set_has_a_bound_without_noise_on_its_images(name) -> None:
    config = load(name)
    model = build.build(config)
    assert config.data.noise_std == 0 and model.likelihood == "bound"
    assert all(level.flow_noise > 0 for level in model.levels[:-1]) and model.levels[-1].flow_noise == 0
    assert [level.name for level in model.levels[2:]] == (["8", "32", "64"] if name == "imagenet64" else ["8", "32"])
    said = importlib.import_module(f"configs.{name}").__doc__ or ""
    assert ("Flips: training mirrors half" if config.data.flip else "Flips: none") in said
    assert "never trained" in said and f"{model.latent_size:,} latent dims" in said


def test_a_version_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="must be one of downsampled, resized, not 'old'"):
        load("imagenet64", "old")


def _bits(bits: int, noise_std: float) -> float:
    """Bits per dimension that dequantised images of a single value have: the entropy of what is added, and `bits`."""
    images = jnp.full((1, 256, 256, 3), 100, jnp.uint8)
    keys = jax.random.split(jax.random.key(0), 1)
    x = np.sort(np.ravel(preprocessing.augment(keys, images, bits=bits, noise_std=noise_std, flip=False)))
    far = 300  # Vasicek's estimate, from the gaps between values that are far apart in their order
    gaps = np.maximum(x[2 * far :].astype(np.float64) - x[: -2 * far], 1e-12)
    return float(np.mean(np.log2(gaps * len(x) / (2 * far)))) + bits


def test_what_added_noise_costs() -> None:
    """No model of images with noise can report less than the noise's own entropy."""
    assert abs(_bits(8, load("cifar10").data.noise_std)) < 0.02
    assert abs(_bits(8, load("celebahq_a").data.noise_std) - 2.439) < 0.02
    assert abs(_bits(5, load("celebahq_a_5bit").data.noise_std) - 0.417) < 0.02
