"""The prepared format: whole or absent, and a damaged file is named."""

import json
import threading

import grain.sources
import numpy as np
import pytest

from hcflow_jax.data import DataError, shards


def _images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)


def _write(directory, images, **kwargs):
    shards.write(directory, images, resolution=8, source={"kind": "test"}, **kwargs)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_reads_what_was_written(tmp_path, count):
    images = _images(count)
    _write(tmp_path / "set", images, shard_images=4)
    source = shards.ShardSource(tmp_path / "set")
    assert len(source) == count
    np.testing.assert_array_equal(np.stack([source[i] for i in range(count)]), images)
    with pytest.raises(IndexError):
        source[count]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_grain_reads_the_files_without_us(tmp_path):
    images = _images(7)
    _write(tmp_path / "set", images, shard_images=4)
    records = grain.sources.ArrayRecordDataSource(sorted(map(str, (tmp_path / "set").glob("*.array_record"))))
    assert [bytes(records[i]) for i in range(7)] == [image.tobytes() for image in images]


def test_reading_is_thread_safe(tmp_path):
    images = _images(20)
    _write(tmp_path / "set", images, shard_images=5)
    source, wrong = shards.ShardSource(tmp_path / "set"), []

    def read() -> None:
        wrong.extend(i for i in range(20) if not np.array_equal(source[i], images[i]))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_same_images_have_the_same_content_hash(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        _write(tmp_path / name, _images(3, seed))
    a, b, c = (shards.read_manifest(tmp_path / name)["content"] for name in "abc")
    assert a == b != c


def test_flipped_byte_names_the_shard(tmp_path):
    _write(tmp_path / "set", _images(6), shard_images=3)
    shard = sorted((tmp_path / "set").glob("*.array_record"))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=shard.name):
        shards.ShardSource(tmp_path / "set")


def test_flipped_byte_of_a_large_set_names_the_shard_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_HASH_LIMIT", 0)
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    shards.write(tmp_path / "set", images, resolution=64, source={"kind": "test"}, shard_images=3)
    shard = sorted((tmp_path / "set").glob("*.array_record"))[1]
    content = bytearray(shard.read_bytes())
    content[content.index(images[4].tobytes()[:1000]) + 500] ^= 1
    shard.write_bytes(content)
    source = shards.ShardSource(tmp_path / "set")
    np.testing.assert_array_equal(source[2], images[2])
    with pytest.raises(DataError, match=rf"{shard.name}: image 4 is damaged") as error:
        source[4]
    assert "\n" not in str(error.value)


def test_compressed_shards_of_earlier_versions_are_read(tmp_path, monkeypatch):
    writer = shards.array_record_module.ArrayRecordWriter
    monkeypatch.setattr(
        shards.array_record_module, "ArrayRecordWriter", lambda path, _: writer(path, "group_size:1,zstd:1")
    )
    _write(tmp_path / "set", np.zeros((3000, 8, 8, 3), np.uint8), shard_images=4000)
    monkeypatch.undo()
    source = shards.ShardSource(tmp_path / "set")
    assert source.manifest["shards"][0]["bytes"] < 3000 * 192 and not source[2999].any()


def test_failing_writer_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    class Full:
        def __init__(self, path: str, _: str) -> None:
            self.path, self.written = path, 0

        def write(self, record: bytes) -> None:
            with open(self.path, "ab") as file:
                file.write(record[:10])
            self.written += 1
            if self.written == 3:
                raise RuntimeError(f"write() failed: No space left on device; writing {self.path}; at byte 5")

    monkeypatch.setattr(shards.array_record_module, "ArrayRecordWriter", Full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)") as error:
        _write(tmp_path / "set", _images(4))
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_missing_shard_and_missing_manifest_are_named(tmp_path):
    _write(tmp_path / "set", _images(6), shard_images=3)
    shard = next((tmp_path / "set").glob("*.array_record"))
    shard.unlink()
    with pytest.raises(DataError, match=f"{shard.name}: missing"):
        shards.ShardSource(tmp_path / "set")
    (tmp_path / "set" / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest\.json: missing"):
        shards.ShardSource(tmp_path / "set")


@pytest.mark.parametrize(
    "change",
    [{"count": 9}, {"resolution": 4}, {"version": 99}, {"shards": []}, {"shards": [{}]}, {"source": 3}],
)
def test_changed_manifest_is_named(tmp_path, change):
    _write(tmp_path / "set", _images(2))
    path = tmp_path / "set" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"manifest\.json"):
        shards.ShardSource(tmp_path / "set")


def test_never_overwrites(tmp_path):
    _write(tmp_path / "set", _images(2))
    _write(tmp_path / "set", _images(2))  # the same images: as good as done
    with pytest.raises(DataError, match="holds other images already"):
        _write(tmp_path / "set", _images(2, seed=1))
    np.testing.assert_array_equal(shards.ShardSource(tmp_path / "set")[1], _images(2)[1])
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_failure_leaves_nothing(tmp_path):
    def broken():
        yield from _images(3)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        _write(tmp_path / "set", broken())
    assert not list(tmp_path.iterdir())


def test_discard_spares_what_is_not_a_prepared_set(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(DataError, match=r"thesis\.tex"):
        shards.discard(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()
