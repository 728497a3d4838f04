"""Copies of the shards of a set in a bucket: made while the set is read, checked, continued, and bounded."""

import hashlib
import logging
import shutil
from collections import namedtuple

import bucket_sets
import numpy as np
import pytest
from bucket_sets import BUCKET, IMAGES, SHARD, URL, damaged, open_set, until

from hcflow_jax.data import DataError, bucket_set, copies, shards
from hcflow_jax.files import hidden, locked

pytestmark = pytest.mark.full
ALL = range(len(IMAGES))


@pytest.fixture
def server(gcs, tmp_path, monkeypatch):
    started = bucket_sets.prepared(gcs, tmp_path, monkeypatch)
    monkeypatch.setattr(bucket_set, "_COPY_AFTER", 3)
    monkeypatch.setattr(copies, "_FREE", 0.0)
    monkeypatch.setattr(copies, "_LOOK", 0.02)
    monkeypatch.setattr(copies, "_PIECE", 30_000)
    monkeypatch.setattr(copies, "_PIECES", 2)
    return started


@pytest.fixture
def opened(server):
    """Opens the set with room for copies; stops copying in the end."""
    sets = []

    def opener(cache_bytes: int = 10**9) -> bucket_set.BucketSet:
        sets.append(open_set(cache_bytes=cache_bytes))
        return sets[-1]

    yield opener
    for each in sets:
        each.copies.stop()


def _copies(source) -> copies.Copies:
    assert source.copies
    return source.copies


def _copied(source) -> None:
    until(lambda: len(_copies(source).complete) == 5)


def _warnings(caplog) -> list[str]:
    ours = (r for r in caplog.records if r.name.startswith("hcflow_jax") and r.levelno >= logging.WARNING)
    return [record.getMessage() for record in ours]


@pytest.mark.situation("copies of a set in a bucket, after a kill, by several processes, or damaged")
def test_copies_are_made_after_a_few_images_and_then_nothing_is_asked_for(server, opened, tmp_path):
    source = opened()
    source.several([0, 1])
    assert not _copies(source).folder.exists()
    np.testing.assert_array_equal(source.several(ALL), IMAGES)
    _copied(source)
    before = len(server.requests)
    np.testing.assert_array_equal(source.several(ALL), IMAGES)
    assert len(server.requests) == before
    assert _copies(source).folder.parent == tmp_path / "cache" / "hcflow_jax" / "sets"
    for entry in source.manifest["shards"]:
        assert not shards.damage(_copies(source).folder, entry)


def test_the_next_run_uses_the_copies_and_continues(server, opened):
    first = opened()
    _copies(first).stop()  # before it starts
    first.several(ALL)
    folder, name = _copies(first).folder, f"sets/mine/{SHARD}"
    until(lambda: folder.exists())
    content = server.content(BUCKET, name)
    hidden(folder / SHARD, "partial").write_bytes(content[:40_000])
    other = folder / "images-00000-of-00005.array_record"
    other.write_bytes(server.content(BUCKET, f"sets/mine/{other.name}"))
    (folder / "images-00001-of-00005.array_record").write_bytes(b"cut off")
    second = opened()
    assert _copies(second).complete == {0}
    before = len(server.requests)
    second.several(range(5))
    _copied(second)
    asked = [request for request in server.requests[before:] if "images-" in request]
    assert not [request for request in asked if other.name in request]
    assert sum(SHARD in request for request in asked) == -(-(len(content) - 40_000) // 30_000)
    assert (folder / SHARD).read_bytes() == content


def test_a_second_process_waits_for_the_first_and_uses_its_copies(server, opened):
    source = opened()
    folder = _copies(source).folder
    folder.mkdir(parents=True)
    with locked(folder / ".copying"):
        source.several(ALL)
        whole = server.content(BUCKET, f"sets/mine/{SHARD}")
        (folder / SHARD).write_bytes(whole)  # by the other
        until(lambda: _copies(source).complete == {2})
    _copied(source)


def test_a_begun_copy_of_another_content_is_made_again(server, opened):
    source = opened()
    folder = _copies(source).folder
    folder.mkdir(parents=True)
    hidden(folder / SHARD, "partial").write_bytes(b"x" * 1000)
    source.several(ALL)
    _copied(source)
    np.testing.assert_array_equal(source.several(ALL), IMAGES)
    assert (folder / SHARD).read_bytes() == server.content(BUCKET, f"sets/mine/{SHARD}")


def test_a_damaged_copy_is_replaced_by_the_bucket(server, opened, caplog):
    source = opened()
    source.several(ALL)
    _copied(source)
    path = _copies(source).folder / SHARD
    path.write_bytes(damaged(path.read_bytes(), 12))
    again = opened()
    for _ in range(2):
        np.testing.assert_array_equal(again.several(ALL), IMAGES)
    [said] = _warnings(caplog)
    assert said.startswith(f"{path}: image 12 is damaged (") and said.endswith("its images now come from the bucket")


def test_a_shard_that_is_not_as_its_manifest_says_ends_reading(server, opened):
    # The image is whole in itself, so only the checksum of the shard can tell that it is another one.
    other, content = IMAGES.copy(), server.content(BUCKET, f"sets/mine/{SHARD}")
    other[12] ^= 1
    folder = _copies(opened()).folder.with_name("other")
    shards.write(folder, other, resolution=8, source={}, shard_images=5)
    server.put(BUCKET, f"sets/mine/{SHARD}", (folder / SHARD).read_bytes())
    assert len((folder / SHARD).read_bytes()) == len(content)
    source = opened()
    source.several([0, 1, 2])
    until(lambda: _copies(source).error)
    with pytest.raises(DataError, match=rf"^{URL}/{SHARD}: does not match its manifest, so it is damaged or was rep"):
        source[0]


@pytest.mark.situation("too little room on this machine for the copies of a set in a bucket")
@pytest.mark.parametrize("what", ["field", "disk", "written", "no folder"])
def test_without_room_one_line_and_the_images_come_from_the_bucket(server, opened, monkeypatch, caplog, what):
    size = len(server.content(BUCKET, f"sets/mine/{SHARD}"))
    if what == "disk":
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100 * size, 99 * size, size))
        monkeypatch.setattr(copies, "_FREE", 0.01)
    elif what == "written":

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(copies, "hidden", full)
    source = opened(3 * size if what == "field" else 10**9)
    folder = _copies(source).folder
    if what == "no folder":
        folder.parent.parent.mkdir(parents=True)
        folder.parent.write_text("a file")
    source.several(ALL)
    until(lambda: _warnings(caplog))
    thread = _copies(source)._thread
    assert thread
    until(lambda: not thread.is_alive())
    np.testing.assert_array_equal(source.several(ALL), IMAGES)
    [said] = _warnings(caplog)
    expected = {
        "field": "3 of its 5 files are copied to this machine (data.cache_gigabytes is ",
        "disk": "0 of its 5 files are copied to this machine (the disk of ",
        "written": f"{folder}: cannot be written (No space left on device); ",
        "no folder": f"{folder}: cannot be written (",
    }[what]
    assert expected in said and len(_copies(source).complete) == (3 if what == "field" else 0)


def test_the_disk_fills_while_a_shard_is_written(server, opened, monkeypatch, caplog):
    class Full:
        def __init__(self, path: str, mode: str) -> None:
            self.file = open(path, mode)  # noqa: SIM115

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            self.file.close()

        def tell(self) -> int:
            return self.file.tell()

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

        def write(self, content: bytes) -> None:
            self.file.write(content)

    monkeypatch.setattr(copies, "open", Full, raising=False)
    source = opened()
    np.testing.assert_array_equal(source.several(ALL), IMAGES)
    until(lambda: _warnings(caplog))
    np.testing.assert_array_equal(source.several(ALL), IMAGES)
    assert "No space left on device" in _warnings(caplog)[0] and len(_warnings(caplog)) == 1
    assert [path.name for path in _copies(source).folder.iterdir()] == [".copying"]


def test_copying_waits_for_a_store_that_does_not_answer(server, opened):
    source = opened()
    source._fetcher._patience = 0.0  # the other thread has no patience either
    with server.failing(r"GET .*/images-") as fault:
        with pytest.raises(DataError, match="does not answer"):
            source.several(ALL)
        seen = fault.seen
        until(lambda: fault.seen > seen + 20)  # several attempts of the thread that copies
        assert _copies(source).error is None
    _copied(source)
    np.testing.assert_array_equal(source.several(ALL), IMAGES)


def test_no_room_at_all_means_no_copies(server, tmp_path, monkeypatch):
    assert open_set(cache_bytes=0).copies is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/")
    assert open_set(cache_bytes=10**9).copies is None
    digest = hashlib.sha256(IMAGES[0].tobytes()).hexdigest()
    assert hashlib.sha256(open_set()[0].tobytes()).hexdigest() == digest
