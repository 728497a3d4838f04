"""Nearest training images against a brute force, and memorising as a number."""

import doctest
import json
import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import metrics, nearest, search
from hcflow_jax.evaluation.nearest import neighbours, sheet

SIZE = 8


class Listed:
    """A set of images in memory."""

    name = identity = "listed"

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def drawn(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


def extractor(images):
    """Six features that see where in an image a value is."""
    weights = np.random.default_rng(9).standard_normal((SIZE * SIZE * 3, 6))
    return images.reshape(len(images), -1) / 255 @ weights


def brute(image, images, mirrored, of):
    """(distance, place, mirrored) of all, the nearest first."""
    rows = []
    for flipped, own in enumerate([image, image[:, ::-1]][: 1 + mirrored]):
        differences = of(own[None]).astype(np.float64) - of(images)
        rows.append([(d, i, bool(flipped)) for i, d in enumerate(np.sqrt((differences**2).sum(1)))])
    return sorted(min(each) for each in zip(*rows, strict=True))


@pytest.mark.parametrize("mirrored", [False, True])
def test_neighbours_are_those_of_a_brute_force(monkeypatch, mirrored):
    monkeypatch.setattr(search, "_MOST", 7)
    monkeypatch.setattr(search, "_ROWS", 3)
    monkeypatch.setattr(search, "_EXACT", 50)
    images, generated, held_out, told = drawn(40, 0), drawn(5, 1), drawn(4, 2), []
    found = neighbours(
        generated, held_out, Listed(images), k=5, mirrored=mirrored, extractor=extractor, tell=told.append
    )
    assert told == [7, 14, 21, 28, 35, 40]
    pixels = lambda x: x.reshape(len(x), -1).astype(np.float64) / np.sqrt(SIZE * SIZE * 3)  # noqa: E731
    for name, of in (("pixels", pixels), ("features", extractor)):
        each = found.by_distance[name]
        expected = [brute(image, images, mirrored, of)[:5] for image in generated]
        assert each.places.tolist() == [[place for _, place, _ in row] for row in expected]
        assert each.mirrored.tolist() == [[flipped for *_, flipped in row] for row in expected]
        np.testing.assert_allclose(each.distances, [[d for d, *_ in row] for row in expected], rtol=1e-9)
        of_held_out = [brute(image, images, mirrored, of)[0][0] for image in held_out]
        np.testing.assert_allclose(each.held_out, of_held_out, rtol=1e-9)
        median = np.median(of_held_out)
        assert each.memorised == np.mean([row[0][0] < median for row in expected])
    assert found.pixels.mirrored.any() == mirrored


def test_squares_by_pixels_are_exact():
    bright = np.random.default_rng(0).integers(250, 256, (4, 64, 64, 3)).astype(np.uint8)
    images = np.concatenate([bright, 255 - bright])
    flat = images.reshape(8, -1).astype(np.int64)
    np.testing.assert_array_equal(
        search.pixel_squares(images, bright), [[((a - b) ** 2).sum() for b in flat[:4]] for a in flat]
    )


def test_copies_are_found_and_counted():
    images = drawn(300, 0)
    source, held_out = Listed(images), drawn(50, 1)
    copies = np.concatenate([images[[7, 250]], images[[30, 99], :, ::-1]])
    found = neighbours(copies, held_out, source, k=2, mirrored=True, extractor=extractor)
    for each in found.by_distance.values():
        assert each.places[:, 0].tolist() == [7, 250, 30, 99] and each.memorised == 1
        assert each.mirrored[:, 0].tolist() == [False, False, True, True]
        assert each.distances[:, 0] == pytest.approx([0] * 4, abs=1e-5)
    assert found.pixels.distances[:, 0].tolist() == [0] * 4 and found.as_dict()["pixels"]["least_generated"] == 0
    unseen = neighbours(copies, held_out, source, k=2, mirrored=False)
    assert (
        unseen.pixels.memorised
        == 0.5 + 0.5 * (unseen.pixels.distances[2:, 0] < np.median(unseen.pixels.held_out)).mean()
    )


def test_fresh_drawings_are_not_memorised():
    found = neighbours(drawn(400, 1), drawn(400, 2), Listed(drawn(500, 0)), k=1, mirrored=True, extractor=extractor)
    for each in found.by_distance.values():
        assert 0 < abs(each.memorised - 0.5) < 3 * each.chance < 0.11
    half = np.concatenate([drawn(200, 1), drawn(500, 0)[:200]])
    found = neighbours(half, drawn(400, 2), Listed(drawn(500, 0)), k=1, mirrored=False)
    assert found.pixels.memorised == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize(("fresh", "refused"), [(1, True), (2, False)])
def test_held_out_images_must_not_be_training_images(monkeypatch, fresh, refused):
    training = Listed(drawn(20, 0))
    held_out = Listed(np.concatenate([training.images[:2], drawn(fresh, 1)]))
    made: Any = SimpleNamespace(about=dict, network=None, weights=None)
    model: Any = SimpleNamespace(
        default_sigma=0.7,
        resolution=SIZE,
        config=SimpleNamespace(data=SimpleNamespace(flip=False)),
        sample=lambda count, *_, **__: training.images[:count],
    )
    monkeypatch.setattr(metrics, "features", lambda network, weights, images, size: [extractor(images)])
    given = model, held_out, training, metrics.Options(denoise=False), made, lambda *_: None
    if refused:
        with pytest.raises(InputError, match="listed: most of these images are also in listed.*; give images"):
            metrics.nearest(*given)
    else:
        assert metrics.nearest(*given).values["pixels"]["memorised"] == 1


def test_results_are_plain_values_and_a_table():
    images = drawn(20, 0)
    found = neighbours(drawn(3, 1), drawn(4, 2), Listed(images), k=2, mirrored=True, extractor=extractor)
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert plain["generated"] == 3 and plain["held_out"] == 4 and plain["training_images"] == 20
    assert plain["neighbours"] == 2 and plain["mirrors"] is True
    assert plain["features"]["memorised"] == found.by_distance["features"].memorised
    lines = str(found).splitlines()
    assert "20 training images and their mirror images: 3 generated, 4 held-out images" in lines[0]
    assert lines[2].startswith("  pixels") and lines[3].startswith("  features")
    alone = neighbours(drawn(3, 1), drawn(4, 2), Listed(images), k=2, mirrored=False)
    assert alone.features is None and "features" not in alone.as_dict() and len(str(alone).splitlines()) == 4


def test_a_sheet_shows_generated_images_beside_their_neighbours():
    images = drawn(20, 0)
    generated = np.concatenate([images[[4], :, ::-1], drawn(2, 1)])
    found = neighbours(generated, drawn(4, 2), Listed(images), k=5, mirrored=True, extractor=extractor)
    made = sheet(found, generated, Listed(images), count=2)
    assert made.shape[0] == 4 * SIZE + 3 * 2 and made.dtype == np.uint8
    row = made[:SIZE, -(6 * SIZE + 5 * 2) :]
    np.testing.assert_array_equal(row[:, :SIZE], generated[0])
    np.testing.assert_array_equal(row[:, SIZE + 2 : 2 * SIZE + 2], generated[0])  # the mirror image of image 4
    last, flipped = found.pixels.places[0, 4], found.pixels.mirrored[0, 4]
    np.testing.assert_array_equal(row[:, -SIZE:], images[last][:, ::-1] if flipped else images[last])


def test_memory_does_not_grow_with_the_set(monkeypatch):
    monkeypatch.setattr(search, "_MOST", 16)

    class Endless(Listed):
        def __getitem__(self, index):
            return drawn(1, index)[0]

    peaks = []
    for count in (160, 1600):
        source = Endless(range(count))
        tracemalloc.start()
        neighbours(drawn(8, 1), drawn(8, 2), source, k=5, mirrored=True, extractor=extractor)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0] < 1600 * SIZE * SIZE * 3
    monkeypatch.setattr(search, "_BYTES", 3 * SIZE * SIZE * 3 + 1)
    assert [first for first, _ in search._parts(Listed(drawn(7, 0)), (SIZE, SIZE, 3))] == [0, 3, 6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(generated=drawn(0, 1)), "generated: expected uint8 images"),
        (dict(held_out=drawn(2, 1).astype(np.float32)), "held_out: expected uint8 images .* got float32"),
        (dict(held_out=drawn(2, 1)[:, :4, :4]), "generated images are .*, and held-out ones"),
        (dict(generated=drawn(2, 1)[:, :4, :4], held_out=drawn(2, 1)[:, :4, :4]), "listed: has images of"),
        (dict(k=0), "k is 0: expected at least 1"),
        (dict(k=21), "k is 21: .* at most the 20 images of listed"),
        (dict(extractor=lambda images: np.full((len(images), 2), np.nan)), "features that are not finite"),
        (dict(extractor=lambda images: images), "the extractor gave .*expected"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, message):
    given = dict(generated=drawn(3, 1), held_out=drawn(3, 2), source=Listed(drawn(20, 0)), k=2, mirrored=False)
    with pytest.raises(InputError, match=message):
        neighbours(**{**given, **change})


def test_examples():
    failed, tried = doctest.testmod(nearest)
    assert not failed and tried
