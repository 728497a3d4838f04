"""Sets with the same names and other pixels are told apart by the pixels of a few images."""

import numpy as np
import pytest
import training_fakes as fakes

from hcflow_jax.data import DataError, folder, identity, shards
from hcflow_jax.data.source import Slice
from hcflow_jax.evaluation import comparison, measured_set, protocols, real_features, sets
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.training import resumption

NONE = Extractor("none", 3, lambda weights, images: images, {}, "none", "0")


@pytest.fixture
def data(tmp_path):
    """The config of 24 training images."""
    return fakes.config(tmp_path / "images").data


def opened(data):
    return folder.open_folder(data, "train")


def redo(data, name):
    """Another picture under the same name."""
    place = f"{data.path}/{name}"
    with open(f"{data.path}/27.png", "rb") as other:  # held out
        content = other.read()
    with open(place, "wb") as file:
        file.write(content)


def test_the_probe_reads_evenly_spaced_images_with_both_ends():
    places = []

    class Counted:
        name, identity = "counted", "names"

        def __len__(self):
            return 100

        def __getitem__(self, index):
            places.append(index)
            return np.full((2, 2, 3), index, np.uint8)

    every = identity.probe(Counted())
    assert len(places) == 16 and (places[0], places[-1]) == (0, 99) and set(np.diff(places)) == {6, 7}
    places.clear()
    assert identity.probe(Counted(), np.array([5, 70])) not in ("", every) and places == [5, 70]
    assert identity.with_pixels(Counted()) == f"names {every}"


def test_sources_that_are_identified_by_their_pixels_are_not_read(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    shards.write(tmp_path / "set", images, resolution=8, source={})
    prepared = shards.ShardSource(tmp_path / "set")
    monkeypatch.setattr(shards.ShardSource, "__getitem__", None)
    part, array = Slice(prepared, 0, 4, "part"), sets.of_array("array", images)
    for source in (prepared, part, array, measured_set.Joined(part, array, "both")):
        assert identity.with_pixels(source) == source.identity and "probe" not in identity.describe(source)


def test_a_run_does_not_go_on_with_other_pixels_of_the_same_names(data):
    stored = resumption.describe_images(opened(data))
    assert resumption.check_images(stored, opened(data), data) is None
    earlier = {name: stored[name] for name in ("name", "count", "identity")}
    other_pillow = {**stored, "probe": {**stored["probe"], "pillow": "1.0"}}
    redo(data, "00.png")
    assert opened(data).identity == stored["identity"]
    with pytest.raises(DataError, match="their names are the same, but their pixels are not; set it back"):
        resumption.check_images(stored, opened(data), data)
    for about in (earlier, other_pillow):
        assert resumption.check_images(about, opened(data), data) is None
    data.allow_other_images = True
    assert "the training images differ" in (resumption.check_images(stored, opened(data), data) or "")


def test_a_picture_that_cannot_be_read_leaves_no_probe(data):
    stored = resumption.describe_images(opened(data))
    with open(f"{data.path}/00.png", "wb"):
        pass
    assert resumption.describe_images(opened(data)) == {key: stored[key] for key in ("name", "count", "identity")}
    assert resumption.check_images(stored, opened(data), data) is None  # training will name the picture


def test_features_of_other_pixels_of_the_same_names_are_not_taken(data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    counts = []

    def mean_colours(name, count, images, *rest):
        counts.append(count)
        return np.concatenate(list(images)).mean((1, 2))

    monkeypatch.setattr(comparison, "extract_batches", mean_colours)

    def side():
        return real_features.real_side(opened(data), protocols.PLAIN, fakes.config(tmp_path / "other"), NONE)

    first, again = side().features, side().features
    assert first is not None and again is not None
    np.testing.assert_array_equal(first, again)
    redo(data, "00.png")
    changed = side().features
    assert changed is not None and (first[0] != changed[0]).all() and counts == [24, 24]
