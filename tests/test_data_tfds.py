"""TensorFlow Datasets prepared as array_record, written here and read without TensorFlow."""

import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow_datasets as tfds
from odd_names import ODD
from PIL import Image
from tensorflow_datasets.core.download import extractor
from tensorflow_datasets.core.registered import skip_registration
from tensorflow_datasets.datasets.celeb_a_hq import celeb_a_hq_dataset_builder

from hcflow_jax.config import ConfigError, default
from hcflow_jax.data import DataError, open_encoded, open_source

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


@pytest.mark.parametrize("name", [ODD[1], ODD[5], ODD[7]], ids=ascii)
def test_sets_lie_under_any_name(prepared, tmp_path, name):
    shutil.copytree(prepared, tmp_path / name)
    assert sorted(_values(open_source(_config(tmp_path / name, "tiny_two"), "train"))) == VALUES
    with pytest.raises(DataError) as error:
        open_source(_config(tmp_path / name, "mnist"), "train")
    assert str(tmp_path / name) in str(error.value)


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
    with pytest.raises(ConfigError, match=r"data\.name is empty.*dataset_info\.json"):
        open_source(_config(tmp_path, ""), "train")


def test_unprepared_lsun_points_to_its_own_source(tmp_path):
    with pytest.raises(DataError, match=r"not prepared there.*data\.source = 'lsun'.*hcflow_jax\[tfds\]") as error:
        open_source(_config(tmp_path, "lsun/church_outdoor"), "train")
    assert "\n" not in str(error.value)


def test_builder_directory(prepared):
    directory = prepared / "tiny_two" / "1.0.0"
    by_directory = open_source(_config(directory, ""), "train")
    by_name = open_source(_config(prepared, "tiny_two"), "train")
    assert _values(by_directory) == _values(by_name)
    assert by_directory.identity == by_name.identity


def test_identity_tells_sets_splits_and_sizes_apart(prepared):
    larger = _config(prepared, "tiny_two")
    larger.data.resolution = 9
    sources = [
        open_source(_config(prepared, "tiny_one"), "train"),
        open_source(_config(prepared, "tiny_one"), "eval"),
        open_source(_config(prepared, "tiny_two"), "train"),
        open_source(_config(prepared, "tiny_two"), "eval"),
        open_source(larger, "train"),
    ]
    assert len({source.identity for source in sources}) == 5
    assert sources[2].identity == "tfds tiny_two/1.0.0 train 7 8"


def test_rebuilt_from_its_description_and_pickled(prepared):
    source = open_encoded("tfds", str(prepared), "tiny_two", "test")
    assert list(source.names()) == ["0", "1", "2", "3", "4", "5", "6"]
    for again in (open_encoded(**source.describe()), pickle.loads(pickle.dumps(source))):
        assert again.name == "tfds tiny_two/1.0.0 (test)" and again.read("3") == source.read("3")
    assert Image.open(io.BytesIO(source.read("3"))).size == (12, 10)
    with pytest.raises(ConfigError, match=r"data\.name is 'tiny_one': the set has no test split"):
        open_encoded("tfds", str(prepared), "tiny_one", "test")


def _copy(prepared, tmp_path) -> Path:
    shutil.copytree(prepared / "tiny_one", tmp_path / "tiny_one")
    return next((tmp_path / "tiny_one").rglob("*.array_record*"))


def test_missing_and_damaged_records_are_named(prepared, tmp_path):
    shard = _copy(prepared, tmp_path)
    content = bytearray(shard.read_bytes())
    for place in range(100, len(content), 100):
        content[place] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match="tiny_one") as error:
        _values(open_source(_config(tmp_path, "tiny_one"), "train"))
    assert "\n" not in str(error.value) and "prepare" in str(error.value)
    shard.unlink()
    with pytest.raises(DataError, match="tiny_one") as error:
        _values(open_source(_config(tmp_path, "tiny_one"), "train"))
    assert "\n" not in str(error.value) and "prepare" in str(error.value)


def test_celeb_a_hq_from_its_manual_archive(tmp_path, monkeypatch):
    """The real builder, from a tar file as it asks for. Of TensorFlow it wants functions of files alone."""
    (tmp_path / "manual").mkdir()
    with tarfile.open(tmp_path / "manual/data256x256.tar", "w") as archive:
        for i in range(4):
            file = io.BytesIO()
            Image.new("RGB", (256, 256), (40 * i, 0, 0)).save(file, "PNG")
            member = tarfile.TarInfo(f"data256x256/{i:05d}.png")
            member.size = file.tell()
            file.seek(0)
            archive.addfile(member, file)
    files = SimpleNamespace(exists=lambda path: Path(path).exists(), GFile=open)
    for module in (celeb_a_hq_dataset_builder, extractor):
        monkeypatch.setattr(module, "tf", SimpleNamespace(io=SimpleNamespace(gfile=files)))
    builder = tfds.builder("celeb_a_hq/256", data_dir=tmp_path / "data", file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tmp_path / "manual"))
    monkeypatch.undo()

    train, held_out = (open_source(_config(tmp_path / "data", "celeb_a_hq/256", 1), s) for s in ("train", "eval"))
    assert sorted(_values(train) + _values(held_out)) == [0, 40, 80, 120] and len(held_out) == 1
    assert train.identity.startswith("tfds celeb_a_hq/256/2.0.0 train 4 8")
