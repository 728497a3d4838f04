"""Prepared sets as a source: parts, resolution, and errors that name the field or the file."""

import numpy as np
import pytest

from hcflow_jax.config import ConfigError, check_paths, default
from hcflow_jax.data import DataError, open_source, shards
from hcflow_jax.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), np.uint8)


def _config(path, **kwargs):
    config = default()
    config.data.update(source="prepared", path=str(path), resolution=8, eval_images=2, **kwargs)
    return config


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sets")
    for name, images in (("all", IMAGES), ("few", IMAGES[:3])):
        shards.write(directory / name, images, resolution=8, source={"kind": "test"}, shard_images=3)
    return directory


def _all(config, split) -> np.ndarray:
    source = open_source(config, split)
    return np.stack([source[i] for i in range(len(source))])


def test_the_end_is_held_out(prepared):
    np.testing.assert_array_equal(_all(_config(prepared / "all"), "train"), IMAGES[:5])
    np.testing.assert_array_equal(_all(_config(prepared / "all"), "eval"), IMAGES[5:])


def test_another_set_is_held_out(prepared):
    config = _config(prepared / "all", eval_path=str(prepared / "few"))
    np.testing.assert_array_equal(_all(config, "train"), IMAGES)
    np.testing.assert_array_equal(_all(config, "eval"), IMAGES[:3])


def test_identity_is_of_the_pixels(prepared, tmp_path):
    shards.write(tmp_path / "again", IMAGES, resolution=8, source={"kind": "other"}, shard_images=3)
    one, other, few = (
        open_source(_config(path), "train").identity
        for path in (prepared / "all", tmp_path / "again", prepared / "few")
    )
    assert one == other != few


def test_another_resolution_names_both(prepared):
    config = _config(prepared / "all")
    config.data.resolution = 16
    with pytest.raises(ConfigError, match=r"data\.resolution is 16: .*all was prepared with --resolution 8"):
        open_source(config, "train")


@pytest.mark.situation("a folder, a zip file, LSUN's database or a TensorFlow Datasets set in a bucket")
@pytest.mark.parametrize("source", ["folder", "zip", "lsun", "tfds"])
@pytest.mark.parametrize("field", ["path", "eval_path"])
def test_only_prepared_sets_are_read_from_buckets(source, field):
    config = default()
    config.data.update({"source": source, "path": "here", field: "gs://bucket/set"})
    for call in (lambda: open_source(config, "train"), lambda: check_paths(config)):
        with pytest.raises(ConfigError, match=rf"^data\.{field} gs://bucket/set: .* '{source}' cannot be") as error:
            call()
        assert "python -m hcflow_jax.data.prepare --source ... --out gs://..." in str(error.value)
    config.data.source = "portraits"
    with pytest.raises(InputError, match=rf"^data\.{field} gs://bucket/set: gs:// is not on this machine"):
        check_paths(config)


def test_what_is_not_there_is_named(prepared, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.path is empty"):
        open_source(_config(""), "train")
    with pytest.raises(DataError, match=r"none: no such directory"):
        open_source(_config(tmp_path / "none"), "train")
    with pytest.raises(DataError, match=r"manifest\.json: missing"):
        open_source(_config(tmp_path), "train")
