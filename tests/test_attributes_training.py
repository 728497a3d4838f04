"""How the networks that read drawing options are made: `benchmarks/attributes.py`."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import attributes as making
from hcflow_jax.evaluation import attributes

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = [{"hair": "bun", "skin": "a"}, {"skin": "b"}, {"hair": "long", "skin": "a"}, {"hair": "bun", "skin": "b"}]


def test_options_that_may_differ_are_attributes() -> None:
    told = {"size": 64, "hairVariant": "bun", "hairColor": ["#fff"], "beardColor": [], "hairRotate": 3.5}
    assert attributes.values(told) == {"hairVariant": "bun", "hairColor": "#fff"}
    known = making.vocabulary([{**found, "head": "same"} for found in OPTIONS])
    assert known == {"hair": ("bun", "long", "none"), "skin": ("a", "b")}
    assert making.labels(OPTIONS, known).tolist() == [[0, 0], [2, 1], [1, 0], [0, 1]]


def test_accuracy_by_hand() -> None:
    known = making.vocabulary(OPTIONS)
    wanted = making.labels(OPTIONS, known)
    scores = np.zeros((4, 5))
    scores[np.arange(4), [0, 2, 1, 1]] = 1  # the last one's hair is read as "long"
    scores[np.arange(4), [3, 3, 3, 4]] = 1  # the second one's skin as "a"
    hair, skin = making.measured(scores, wanted, known)
    assert (hair["name"], hair["accuracy"], hair["worst"], hair["recall"]) == ("hair", 0.75, "bun", 0.5)
    assert (skin["name"], skin["accuracy"], skin["worst"], skin["recall"]) == ("skin", 0.75, "b", 0.5)


def test_scaling_changes_no_score() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    weights = {**attributes.initial(1), "head.kernel": rng.normal(size=(attributes.DIMS, 3)), "head.bias": np.ones(3)}
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    scaled = making.scaled(weights, images)
    scores = []
    for found in (weights, scaled):
        features = making.features_of(found, images)
        scores.append(features @ found["head.kernel"] + found["head.bias"])
    np.testing.assert_allclose(*scores, atol=1e-3 * np.abs(scores[0]).max())
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-3)
    assert features.var(0).mean() == pytest.approx(1, rel=1e-3)


def test_a_file_has_the_scores_of_the_attributes_that_are_read(tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    weights = {
        **attributes.initial(1),
        "head.kernel": rng.normal(size=(attributes.DIMS, 9)),
        "head.bias": np.arange(9),
    }
    weights = {name: value.astype(np.float16) for name, value in weights.items()}
    rows = [dict(name=f"n{i}", values=["a", "b", "c"], accuracy=a) for i, a in enumerate((0.9, 0.899, 0.97))]
    monkeypatch.setattr(attributes, "file", lambda name: tmp_path / "file")
    (tmp_path / "file").write_bytes(making.packed(weights, rows, {"style": "landscape"}))
    reader = attributes.read("landscape")
    assert [found.name for found in reader.attributes] == ["n0", "n2"]
    assert [row["name"] for row in reader.metadata["left_out"]] == ["n1"]
    kept = [0, 1, 2, 6, 7, 8]
    np.testing.assert_array_equal(reader.kernel, weights["head.kernel"][:, kept])
    np.testing.assert_array_equal(reader.bias, kept)
    for name, value in reader.weights.items():
        np.testing.assert_array_equal(value, weights[name])
    features = rng.normal(size=(50, attributes.DIMS))
    scores = features @ weights["head.kernel"].astype(float) + np.arange(9)
    found = reader.predict(features)
    np.testing.assert_array_equal(found["n0"], scores[:, :3].argmax(1))
    np.testing.assert_array_equal(found["n2"], scores[:, 6:].argmax(1))


def test_augmentation_keeps_the_picture() -> None:
    images = np.zeros((64, 32, 32, 3), np.uint8)
    images[:, :, :16] = 200  # the left half is bright
    x = np.asarray(jax.jit(making.augmented)(jax.random.key(0), images))
    assert x.shape == images.shape and x.min() >= 0 and x.max() <= 1
    left, right = (x[:, :, half].mean((1, 2, 3)) for half in (slice(0, 15), slice(17, 32)))
    mirrored = right > left
    assert 16 < mirrored.sum() < 48
    np.testing.assert_allclose(np.where(mirrored, right, left), 200 / 255, atol=0.02)
    spread = x[:, :, :14].std((1, 2, 3))
    assert spread.min() < 0.01 and making.NOISE / 2 < spread.max() < 1.2 * making.NOISE


@pytest.mark.full
def test_weights_and_card_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On few drawings, in a process of its own."""
    flags = ["--style=landscape", f"--out={tmp_path}", "--train_images=256", "--eval_images=64", "--epochs=3"]
    command = [sys.executable, "-m", "benchmarks.attributes", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "epoch 3/3: loss" in done.stdout
    monkeypatch.setattr(attributes, "file", lambda name: tmp_path / f"{name}.safetensors")
    reader = attributes.read("landscape")
    told = reader.metadata
    names = {row["name"] for row in (*told["attributes"], *told["left_out"])}
    assert names == {"backgroundColor", "orbColor", "orbVariant"} | {
        f"hill{i}{what}" for i in range(1, 5) for what in ("Color", "Variant")
    }
    assert reader.kernel.shape[1] == sum(len(a.values) for a in reader.attributes)
    card = (tmp_path / "landscape.md").read_text()
    assert "256 drawings" in card and "64 fresh drawings" in card
