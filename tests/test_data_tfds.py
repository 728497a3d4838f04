"""TensorFlow Datasets prepared as array_record, written here and read without TensorFlow."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.registered import skip_registration

from hcflow_jax.config import ConfigError, default
from hcflow_jax.data import DataError, open_source

VALUES = list(range(0, 70, 10))


def _png(value: int) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(np.full((10, 12, 3), value, np.uint8)).save(file, "PNG")
    file.seek(0)
    return file


def _prepare(directory, name: str, splits: tuple[str, ...]) -> None:
    class Tiny(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        name = "tiny"  # replaced below; a class statement registers its own

        def _info(self):
            features = tfds.features.FeaturesDict(
                {"label": np.int64, "image": tfds.features.Image(shape=(None, None, 3))}
            )
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples() for split in splits}

        def _generate_examples(self):
            for i, value in enumerate(VALUES):
                yield i, {"image": _png(value), "label": i}

    Tiny.name = name
    Tiny(data_dir=str(directory), file_format="array_record").download_and_prepare()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    with skip_registration():
        _prepare(directory, "tiny_one", ("train",))
        _prepare(directory, "tiny_two", ("train", "test"))
    return directory


def _config(path, name: str, eval_images: int = 2):
    config = default()
    config.data.update(source="tfds", path=str(path), name=name, resolution=8, eval_images=eval_images)
    return config


def _values(source) -> list[int]:
    assert source[0].shape == (8, 8, 3) and source[0].dtype == np.uint8
    return [int(source[i][4, 4, 0]) for i in range(len(source))]


def test_held_out_is_split_off_the_end(prepared):
    train, held_out = (_values(open_source(_config(prepared, "tiny_one"), s)) for s in ("train", "eval"))
    assert len(train) == 5 and len(held_out) == 2
    assert sorted(train + held_out) == VALUES


def test_held_out_split_of_the_set_is_preferred(prepared):
    train, held_out = (_values(open_source(_config(prepared, "tiny_two"), s)) for s in ("train", "eval"))
    assert sorted(train) == sorted(held_out) == VALUES


def test_no_training_image_left(prepared):
    with pytest.raises(ConfigError, match=r"data\.eval_images is 7"):
        open_source(_config(prepared, "tiny_one", eval_images=7), "train")


def test_tfrecord_says_what_to_do(prepared, tmp_path):
    info = json.loads((prepared / "tiny_one/1.0.0/dataset_info.json").read_text())
    folder = tmp_path / "tiny_one" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps(info | {"fileFormat": "tfrecord"}))
    (folder / "features.json").write_text((prepared / "tiny_one/1.0.0/features.json").read_text())
    with pytest.raises(DataError, match=r'prepared as tfrecord.*file_format="array_record"') as error:
        open_source(_config(tmp_path, "tiny_one"), "train")
    assert "\n" not in str(error.value)


def test_unprepared_and_unknown_sets(tmp_path):
    with pytest.raises(DataError, match=r"celeb_a_hq/256 is not prepared there.*data\.source = 'folder'"):
        open_source(_config(tmp_path, "celeb_a_hq/256"), "train")
    with pytest.raises(ConfigError, match=r"data\.name is 'no_such_set'") as error:
        open_source(_config(tmp_path, "no_such_set"), "train")
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=r"data\.name is empty"):
        open_source(_config(tmp_path, ""), "train")
