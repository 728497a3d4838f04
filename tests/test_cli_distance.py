"""`hcflow features` and `hcflow distance`: from pictures to numbers, and what cannot be compared."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_data import GOLDEN
from PIL import Image

from hcflow_jax import cli
from hcflow_jax.data import shards
from hcflow_jax.evaluation import comparison, extractors, sets
from hcflow_jax.evaluation.extractors import Extractor

VECTORS = np.load(GOLDEN / "features" / "distances.npz")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with generated and real features, and statistics of others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HCFLOW_INCEPTION", raising=False)
    np.save("a.npy", VECTORS["a"])
    np.save("b.npy", VECTORS["b"])
    np.savez("b.npz", mu=VECTORS["b"].mean(0), sigma=np.cov(VECTORS["b"].T))
    return tmp_path


def _json(*argv: str) -> dict:
    assert cli.main(["distance", *argv, "--json", "out.json"]) == 0
    return json.loads(Path("out.json").read_text())


def test_features_of_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _json("a.npy", "b.npy")
    assert found["fid"] == pytest.approx(float(VECTORS["fid"]), rel=2e-6)
    assert found["precision"] == pytest.approx(float(VECTORS["precision"]))
    assert found["recall"] == pytest.approx(float(VECTORS["recall"]))
    assert (found["count"], found["count_real"]) == (700, 500)
    assert found["protocol"]["kid"] == {"subsets": 100, "size": 500, "seed": 0}
    said = capsys.readouterr()
    assert "fid" in said.out and "some do not say" in said.err
    named = _json("a.npy", "b.npy", "--extractor", "dinov2", "--metrics", "frechet")
    assert named["frechet_dinov2"] == found["fid"] and "kid" not in named and "fid" not in named


def test_statistics_of_others_need_a_protocol(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["distance", "a.npy", "b.npz"]) == 2
    assert "b.npz: the statistics do not say how the images were resized" in capsys.readouterr().err
    found = _json("a.npy", "b.npz", "--reference-protocol", "clean-fid")
    assert found["fid"] == pytest.approx(float(VECTORS["fid"]), rel=2e-6)
    assert found["protocol"]["reference_protocol"] == "clean-fid" and "kid" not in found
    assert "reference protocol: clean-fid" in capsys.readouterr().out
    assert cli.main(["distance", "a.npy", "b.npz", "--reference-protocol", "tf1", "--metrics", "frechet,kid"]) == 2
    assert "error: b.npz: contains only statistics; KID need" in capsys.readouterr().err


def test_statistics_of_others_are_not_compared_with_features_that_were_resized_differently(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.npy.json").write_text(json.dumps({"extractor": "inception", "resizing": "tf1"}))
    assert cli.main(["distance", "a.npy", "b.npz", "--reference-protocol", "clean-fid"]) == 2
    assert "features with different resizing: ['clean-fid', 'tf1']" in capsys.readouterr().err
    assert _json("a.npy", "b.npz", "--reference-protocol", "tf1")["protocol"]["real"]["resizing"] == "tf1"


def test_features_of_another_extractor_are_not_called_fid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.npy.json").write_text(json.dumps({"extractor": "efficientnet-lite0"}))
    found = _json("a.npy", "b.npy", "--metrics", "frechet")
    assert "frechet_efficientnet-lite0" in found and "fid" not in found
    assert capsys.readouterr().err == ""
    assert cli.main(["distance", "a.npy", "b.npy", "--extractor", "inception"]) == 2
    assert "--extractor inception: a.npy has features of efficientnet-lite0; leave" in capsys.readouterr().err


@pytest.mark.full
def test_pictures_have_a_distance_of_its_own_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without Inception's weights. A folder and an array of the same pictures have the same features."""
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    Path("pictures").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(f"pictures/{i}.png")
    np.savez("images.npz", images)
    assert cli.main(["features", "--samples", "pictures", "--out", "f.npy", "--batch-size", "5"]) == 0
    features, about = np.load("f.npy"), json.loads(Path("f.npy.json").read_text())
    assert features.shape == (5, 1280) and features.dtype == np.float32
    assert (about["extractor"], about["resizing"], about["count"]) == ("efficientnet-lite0", "bilinear", 5)
    found = _json("images.npz", "f.npy", "--batch-size", "5")
    scale = float(np.trace(np.cov(features.T)))
    assert abs(found["frechet_efficientnet-lite0"]) < 1e-5 * scale and "fid" not in found
    assert found["precision"] == found["recall"] == 1 and found["count"] == 5
    assert "do not say" not in capsys.readouterr().err
    np.save("g.npy", features + 1)
    Path("g.npy.json").write_text(json.dumps({**about, "weights_sha256": "others"}))
    assert cli.main(["distance", "f.npy", "g.npy"]) == 2
    assert "features with different weights_sha256" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv, said",
    [
        (["distance", "gone", "b.npy"], "gone: cannot be read (No such file or directory)"),
        (["distance", "empty", "b.npy"], "empty: contains no picture"),
        (["distance", "a.npy", "b.npy", "--metrics", "is"], "'is': expected frechet, kid or prc"),
        (["distance", "a.npy", "b.npy", "--json", "out.txt"], "--json out.txt: must end in .json"),
        (["distance", "mixed", "b.npy"], "mixed/b.png: is 9 x 9 pixels, but the first image is 8 x 8"),
        (["distance", "oblong", "b.npy"], "oblong/a.png: is 8 x 9 pixels; the images must be square"),
        (["distance", "single", "b.npy"], "single: holds 1 image; distances need at least 2"),
        (["features", "--samples", "b.npz", "--out", "f.npy"], "--samples b.npz: contains no images"),
        (["features", "--samples", "single", "--out", "f.npz"], "--out f.npz: must end in .npy"),
        (["features", "--samples", "single", "--out", "f.npy", "--extractor", "vgg"], "no extractor 'vgg'"),
        (["features", "--samples", "single", "--out", "f.npy", "--extractor", "inception"], "weights are not known"),
    ],
)
def test_what_cannot_be_compared(
    folder: Path, argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    for name, sizes in {"mixed": [(8, 8), (9, 9)], "oblong": [(8, 9)], "single": [(8, 8)]}.items():
        Path(name).mkdir()
        for letter, size in zip("ab", sizes, strict=False):
            Image.new("RGB", size).save(f"{name}/{letter}.png")
    assert cli.main(argv) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not Path("out.json").exists() and not Path("f.npy").exists()


def test_resizing_that_is_not_there(folder: Path) -> None:
    with pytest.raises(extractors.InputError, match="no resizing 'lanczos'; there are tf1, pytorch-fid, clean-fid"):
        extractors.load("inception", "weights", "lanczos")
    with pytest.raises(extractors.InputError, match="accepts neither"):
        extractors.load("efficientnet-lite0", "weights")


def test_a_prepared_set_is_compared_as_a_folder_and_other_sizes_are_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    means = Extractor("means", 3, lambda _, images: images.mean((1, 2)), {}, "none", "0123456789abcdef0123")
    monkeypatch.setattr(extractors, "load", lambda *given: means)
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), np.uint8)
    shards.write(folder / "set", images, resolution=8, source={"kind": "test"}, shard_images=3)
    np.savez("images.npz", images)
    np.savez("larger.npz", images.repeat(2, 1).repeat(2, 2))
    for argument in ("set", "images.npz"):
        assert cli.main(["features", "--samples", argument, "--out", f"{argument}.npy", "--batch-size", "4"]) == 0
    assert (np.load("set.npy") == np.load("images.npz.npy")).all()
    assert sets.of_directory(Path("set"))[6].tolist() == images[6].tolist()
    capsys.readouterr()
    assert _json("set", "images.npz", "--batch-size", "4")["protocol"]["generated"]["resolution"] == 8
    assert "note: A has" not in capsys.readouterr().err
    _json("set", "larger.npz", "--batch-size", "4")
    error = capsys.readouterr().err
    assert "note: A has 8 pixels and B has 16" in error and "data.prepare --resolution 8" in error


def test_every_device_has_a_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = sets.of_array("images", np.zeros((13, 8, 8, 3), np.uint8))
    means = Extractor("means", 3, lambda _, images: images.mean((1, 2)), {}, "none", "0123456789abcdef0123")
    sizes = []

    def made(network: Any, weights: Any, batches: Any, batch_size: int) -> Iterator[np.ndarray]:
        assert batch_size == 2
        for batch in batches:
            sizes.append(len(batch))
            yield network(weights, batch)

    monkeypatch.setattr(comparison, "features", made)
    monkeypatch.setattr("jax.local_device_count", lambda: 3)
    assert comparison.extract(images, means, batch_size=2).shape == (13, 3)
    assert sizes == [6, 6, 1]
