"""Networks that read the options of drawings: the shipped weights, their features, and the commands that use them."""

import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import attribute_card
from hcflow_jax import cli
from hcflow_jax.data import render
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import attribute_distances, attributes, extractors

COUNT = 120
MOST_BYTES = 1_000_000
network = jax.jit(attributes.features)


@pytest.fixture(scope="module", params=attributes.NAMES)
def drawn(request: pytest.FixtureRequest) -> tuple[str, np.ndarray, list[dict[str, str]]]:
    """A style, drawings of it that no training set has, and their options."""
    seeds = [f"test of attributes-{i}" for i in range(COUNT)]
    images = np.stack(list(render.portraits(request.param, seeds, attributes.SIZE)))
    return request.param, images, [attributes.values(found) for found in render.options(request.param, seeds)]


def test_fresh_drawings_are_read(drawn) -> None:
    name, images, options = drawn
    reader = attributes.read(name)
    found = reader.predict(np.asarray(network(reader.weights, images)))
    assert list(found) == [attribute.name for attribute in reader.attributes]
    for attribute in reader.attributes:
        told = [attribute.values[i] for i in found[attribute.name]]
        right = np.mean([a == b.get(attribute.name, "none") for a, b in zip(told, options, strict=True)])
        assert right > 0.85, attribute.name
        assert right > attribute.accuracy - 0.1, attribute.name


def test_a_style_that_is_missing_is_named(drawn) -> None:
    """The values of one attribute are taken out of a set, one after the other."""
    name, images, options = drawn
    reader = attributes.read(name)
    features = np.asarray(network(reader.weights, images))
    part = {"toon-head": "hairVariant", "landscape": "orbVariant"}[name]
    values = next(a.values for a in reader.attributes if a.name == part)
    whole = attribute_distances.of_features(name, features, features)
    assert whole.mean == 0 < whole.floor and not whole.as_dict()["dropped"]
    assert str(whole).endswith("dropped  none")
    for value in values:
        kept = np.array([found.get(part, "none") != value for found in options])
        found = attribute_distances.of_features(name, features[kept], features)
        share = next(one.real[values.index(value)] for one in found.each if one.attribute.name == part)
        assert abs(share - (1 - kept.mean())) < 0.05
        if share * kept.sum() < attribute_distances.LEAST_EXPECTED:
            continue
        assert {(row["attribute"], row["value"]) for row in found.as_dict()["dropped"]} >= {(part, value)}
        assert f"{part} {value}: " in str(found)


def test_features_are_scaled_and_ignore_mirror_images(drawn) -> None:
    name, images, _ = drawn
    reader = attributes.read(name)
    features = np.asarray(network(reader.weights, images))
    assert features.shape == (COUNT, attributes.DIMS) and features.dtype == np.float32
    np.testing.assert_allclose(features, network(reader.weights, images[:, :, ::-1]), atol=1e-4)
    assert abs(features.var(0).mean() - 1) < 0.15 and np.abs(features.mean(0)).max() < 0.6


def test_the_shipped_files(drawn) -> None:
    name, *_ = drawn
    path, reader = attributes.file(name), attributes.read(name)
    assert path.stat().st_size < MOST_BYTES
    assert reader.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    shapes = {key: value.shape for key, value in attributes.initial(0).items()}
    assert {key: value.shape for key, value in reader.weights.items()} == shapes
    assert reader.kernel.shape == (attributes.DIMS, sum(len(a.values) for a in reader.attributes))
    assert all(np.isfinite(value).all() for value in (*reader.weights.values(), reader.kernel, reader.bias))
    told, card = reader.metadata, path.with_suffix(".md").read_text()
    assert card == attribute_card.text(told, path.stat().st_size)
    assert told["style"] == name and told["measured_on"].startswith("attributes-eval-0 ...")
    now = render.describe(name, attributes.SIZE, told["drawn"]["seeds"])
    assert told["drawn"] == now and now["seeds"].startswith("attributes-train-0 ...")
    assert {"epochs", "batch", "rate", "decay", "noise", "seed", "jax"} <= set(told["training"])
    assert len(reader.attributes) >= 4
    for rows, least, most in ((told["attributes"], 0.9, 1), (told["left_out"], 0, 0.9)):
        for row in rows:
            assert least <= row["accuracy"] <= most and row["worst"] in row["values"]
            assert f"| `{row['name']}` | {', '.join(row['values'])} | {row['accuracy']:.3f} |" in card
    assert f"python -m benchmarks.attributes --style={name}" in card and "licensed CC" in card


def test_other_sizes_are_resized_by_area() -> None:
    weights, rng = attributes.initial(0), np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    wanted = network(weights, small)
    for times in (2, 3):
        large = small.repeat(times, 1).repeat(times, 2)
        np.testing.assert_allclose(network(weights, large), wanted, atol=1e-4)
    # 48 pixels become 32: a new pixel is the mean over one and a half old ones.
    old = rng.random((1, 48, 48, 3)).astype(np.float32)
    rows = (old[:, 0::3] + old[:, 1::3] / 2) / 1.5, (old[:, 1::3] / 2 + old[:, 2::3]) / 1.5
    by_hand = np.stack(rows, 2).reshape(1, 32, 48, 3)
    rows = (
        (by_hand[:, :, 0::3] + by_hand[:, :, 1::3] / 2) / 1.5,
        (by_hand[:, :, 1::3] / 2 + by_hand[:, :, 2::3]) / 1.5,
    )
    by_hand = np.stack(rows, 3).reshape(1, 32, 32, 3)
    np.testing.assert_allclose(attributes._resized(jnp.asarray(old)), by_hand, atol=1e-6)


def test_features_and_distances_by_command(tmp_path: Path, monkeypatch, capsys) -> None:
    """The attribute distances come from images and from stored features alike."""
    monkeypatch.chdir(tmp_path)
    seeds = [f"test of attributes-{i}" for i in range(40)]
    images = np.stack(list(render.portraits("landscape", seeds, 32)))
    np.savez("real.npz", images)
    np.savez("mean.npz", np.broadcast_to(images.mean(0).astype(np.uint8), (20, 32, 32, 3)))
    options = ["--extractor", "landscape", "--batch-size", "20"]
    for name in ("real", "mean"):
        assert cli.main(["features", "--samples", f"{name}.npz", "--out", f"{name}.npy", *options]) == 0
    about = json.loads(Path("real.npy.json").read_text())
    assert (about["extractor"], about["resizing"], about["count"]) == ("landscape", "area", 40)
    assert about["weights_sha256"] == attributes.read("landscape").sha256
    found = []
    for ending, more in (("npz", options), ("npy", [])):
        assert cli.main(["distance", f"mean.{ending}", f"real.{ending}", *more, "--json", "out.json"]) == 0
        found.append(json.loads(Path("out.json").read_text()))
    assert found[0]["attributes"] == found[1]["attributes"]
    told = found[0]["attributes"]
    assert found[0]["frechet_landscape"] > 1 and told["mean"] > 2 * told["floor"] > 0
    assert (told["count"], told["count_real"]) == (20, 40)
    name = attributes.read("landscape").attributes[0].name
    row = told["by_attribute"][name]
    shares = [abs(row["generated"][value] - row["real"][value]) for value in row["real"]]
    assert row["distance"] == pytest.approx(sum(shares) / 2)
    assert f"{name}  {row['distance']:.4f}, floor {row['floor']:.4f}" in capsys.readouterr().out
    Path("real.npy.json").write_text(json.dumps({**about, "weights_sha256": "others"}))
    Path("mean.npy.json").write_text(json.dumps({**about, "weights_sha256": "others"}))
    assert cli.main(["distance", "mean.npy", "real.npy"]) == 2
    assert "made with other weights of landscape" in capsys.readouterr().err


def test_what_is_refused(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(InputError, match="style 'micah'; there are toon-head, landscape"):
        attributes.read("micah")
    with pytest.raises(InputError, match="toon-head accepts neither a file of weights"):
        extractors.load("toon-head", "weights.pth")
    with pytest.raises(InputError, match=r"\(3, 5\): expected \(n, 64\) for landscape"):
        attributes.read("landscape").predict(np.zeros((3, 5)))
    content = attributes.file("landscape").read_bytes()
    path = tmp_path / "landscape.safetensors"
    monkeypatch.setattr(attributes, "file", lambda name: path)
    for damaged in (content[:-9], content[:40], b"", content.replace(b"head.bias", b"head.bios")):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read as weights .* install hcflow_jax again"):
            attributes.read("landscape")
    path.unlink()
    with pytest.raises(InputError, match="cannot be read as weights"):
        attributes.read("landscape")
