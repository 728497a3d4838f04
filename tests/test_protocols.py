"""Which real images a protocol takes, how they are prepared, and that their features are kept."""

import dataclasses
import json

import jax
import measured_run
import numpy as np
import pytest
from measured_run import EXTRACTOR, SIZE, make_config

from hcflow_jax import api
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import (
    comparison,
    measure,
    metrics,
    protocols,
    real_features,
    sets,
    shares,
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    measured_run.isolate(tmp_path / "cache", monkeypatch)


def test_protocols_take_the_reals_they_say(tmp_path):
    config = make_config(tmp_path / "images")
    reals = sets.of_array("reals", np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE, 3), np.uint8))

    def images(protocol, seed=0):
        places = protocol.places(len(reals), seed)
        return places, np.concatenate(list(real_features.prepared(reals, places, protocol, config, seed)))

    places, plain = images(protocols.PLAIN)
    assert reals.images is not None
    np.testing.assert_array_equal(plain, reals.images)
    config.data.bits, config.data.noise_std = 3, 0.01
    paper = protocols.with_samples(protocols.PAPER, 10)
    places, noisy = images(paper)
    assert places.tolist() == list(range(10)) and paper.sigma == 0.8 and paper.split == "all"
    error = noisy.astype(int) - reals.images[:10]
    assert 5 < np.abs(error).mean() < 16 and error.min() < -20 < 20 < error.max()  # a bin of 3 bits has 32 levels
    assert np.unique(noisy).size > 200  # dequantised: not eight values
    figure7 = protocols.with_samples(protocols.FIGURE7, 30)
    places, augmented = images(figure7)
    others, _ = images(figure7, seed=1)
    assert len(set(places.tolist())) == 30 and places.tolist() != others.tolist()
    straight, mirrored = (
        np.abs(augmented.astype(int) - reals.images[places][:, :, ::step]).mean((1, 2, 3)) for step in (1, -1)
    )
    assert 5 < (mirrored < straight).sum() < 25
    assert ((np.minimum(straight, mirrored)) < 16).all()
    with pytest.raises(InputError, match="holds 40 images, and the protocol 'paper' takes 30,000 of them"):
        protocols.PAPER.count(40, "reals")
    assert protocols.PLAIN.count(40, "") == 40 and protocols.PLAIN.count(40_000, "") == 30_000


@pytest.mark.parametrize(
    ("count", "names", "protocol", "said"),
    [
        (3, ("bits", "fid"), protocols.PAPER, "few: holds 3 images, and the protocol 'paper' takes 30,000 of them"),
        (1, ("bits", "kid"), protocols.PLAIN, "few: 1 of its 1 images is used; distances need at least 2"),
        (4, ("bits", "nearest"), protocols.PLAIN, "few: holds 4 images, and `nearest` needs at least 5 for each"),
    ],
)
def test_too_few_images_are_found_before_anything_is_measured(tmp_path, monkeypatch, count, names, protocol, said):
    monkeypatch.setattr(metrics, "likelihood", None)
    model = api.Model(make_config(tmp_path / "images"), {})
    few = sets.of_array("few", np.zeros((count, SIZE, SIZE, 3), np.uint8))
    options = metrics.Options(protocol=protocol)
    with pytest.raises(InputError, match=said):
        measure.measure(model, few, names, options, extractor=lambda: EXTRACTOR, training=lambda: few)


def test_the_process_with_the_fewest_images_counts(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    for count in range(20):
        parts = []
        for process in range(4):
            monkeypatch.setattr(jax, "process_index", lambda process=process: process)
            parts.append(len(shares.part(count)))
        assert shares.smallest(count) == min(parts)


@pytest.mark.situation("the kept features of real images are damaged")
@pytest.mark.situation("no room on the disk where features of real images are kept")
def test_real_features_are_kept_by_all_they_depend_on(tmp_path, monkeypatch, caplog):
    config, calls = make_config(tmp_path / "images"), []
    reals = sets.of_array("reals", np.random.default_rng(0).integers(0, 256, (9, SIZE, SIZE, 3), np.uint8))
    plain = comparison.extract_batches

    def counting(name, count, *given):
        calls.append(count)
        return plain(name, count, *given)

    monkeypatch.setattr(comparison, "extract_batches", counting)

    def side(protocol=protocols.PLAIN, extractor=EXTRACTOR, source=reals):
        return real_features.real_side(source, protocol, config, extractor)

    first, again = side(), side()
    assert calls == [9]
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.statistics.sigma, again.statistics.sigma)
    (statistics,) = (tmp_path / "cache" / "hcflow_jax" / "features").glob("*.npz")
    with np.load(statistics) as file:
        assert {"mu", "sigma"} <= set(file.files) and json.loads(str(file["about"]))["count"] == 9
    side(protocols.with_samples(protocols.PAPER, 5))
    side(extractor=dataclasses.replace(EXTRACTOR, sha256="other"))
    assert reals.images is not None
    side(source=sets.of_array("reals", reals.images[::-1].copy()))
    assert calls == [9, 5, 9, 9]
    for file in statistics.parent.glob("*.npy"):
        file.write_bytes(file.read_bytes()[:200])
    side()
    assert calls[4:] == [9] and "computed again" in caplog.text

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hcflow_jax.files.write", full)
    side(protocols.with_samples(protocols.PAPER, 6))
    assert calls[5:] == [6] and "could not be kept for the next evaluation" in caplog.text
    assert len(list(statistics.parent.iterdir())) == 12


def test_the_floor_is_between_halves_of_the_reals():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, 4))
    side = comparison.Side("reals", features, comparison.moments(features), {})
    floor = real_features.floor(side, 100)
    assert floor is not None and floor["count"] == 100 and 0 < floor["frechet"] < 0.5
    assert (real_features.floor(side, 1000) or {})["count"] == 200
    assert real_features.floor(dataclasses.replace(side, features=features[:3]), 100) is None
