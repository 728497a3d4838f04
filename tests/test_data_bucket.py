"""Prepared sets in a bucket: the images of a set on this machine, and one line for each failure of the store."""

import itertools
import logging
import time
from contextlib import closing

import bucket_sets
import numpy as np
import pytest
from bucket_sets import BUCKET, COUNT, IMAGES, SHARD, SIZE, URL, config_of, damaged, open_set

from hcflow_jax.config import ConfigError, check_paths
from hcflow_jax.data import DataError, bucket_set, copies, fetching, open_source, several, shards
from hcflow_jax.data.pipeline import eval_batches, init_images, train_batches

pytestmark = pytest.mark.full
server = pytest.fixture(bucket_sets.prepared)


def _taken(config, start: int, *share: int) -> list[dict]:
    with closing(train_batches(config, start, *share)) as batches:
        return list(itertools.islice(batches, 8))


@pytest.mark.situation("a prepared set in a bucket, for training or evaluating")
@pytest.mark.parametrize("copied", [False, True])
def test_the_images_and_their_order_are_those_of_the_same_set_on_this_machine(server, tmp_path, monkeypatch, copied):
    if copied:
        monkeypatch.setattr(bucket_set, "_COPY_AFTER", 10)
        monkeypatch.setattr(copies, "_FREE", 0.0)
    here, there = config_of(tmp_path / "local"), config_of(URL)
    check_paths(there)
    for split in ("train", "eval"):
        a, b = open_source(here, split), open_source(there, split)
        assert a.identity == b.identity and len(a) == len(b)
        np.testing.assert_array_equal(a[3], b[3])
        np.testing.assert_array_equal(list(several(b, [2, 0, 1])), [a[i] for i in (2, 0, 1)])
        for wrong in ([0, len(b)], [-1]):
            with pytest.raises(IndexError):
                list(several(b, wrong))
    for share in ((0, 1), (1, 2)):
        for a, b in zip(_taken(here, 6, *share), _taken(there, 6, *share), strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])
    np.testing.assert_array_equal(init_images(here), init_images(there))
    for a, b in zip(eval_batches(here), eval_batches(there), strict=True):
        np.testing.assert_array_equal(a["images"], b["images"])


def test_the_requests_of_a_batch_are_made_at_the_same_time(server):
    source = open_set()
    with server.failing(r"GET .*/o/.*array_record\?alt=media", seconds=0.2, passes=True) as slow:
        start = time.monotonic()
        np.testing.assert_array_equal(source.several(range(COUNT)), IMAGES)
        assert slow.seen == COUNT and time.monotonic() - start < 0.2 * COUNT / 2


def test_opening_takes_two_requests_whatever_the_number_of_shards(server):
    before = len(server.requests)
    open_set()
    assert len(server.requests) - before == 2


@pytest.mark.situation("a store that does not answer for a while, while images are read")
def test_an_outage_is_waited_for_and_said_once(server, monkeypatch, caplog):
    source = open_set()
    monkeypatch.setattr(fetching, "_SLOW", 0.05)
    with caplog.at_level(logging.WARNING), server.failing(r"GET .*/images-", status=503, times=30, seconds=0.1):
        np.testing.assert_array_equal(source.several([0, 12, 20]), IMAGES[[0, 12, 20]])
    said = [record.message for record in caplog.records if record.name.startswith("hcflow_jax")]
    assert said == [
        f"{URL}: the store does not answer; trying again for 300 s at most",
        f"{URL}: the store answers again",
    ]


@pytest.mark.parametrize("status", [0, 503, 429])
def test_a_store_that_does_not_answer_for_long_is_one_line(server, status):
    source = open_set(patience=0.2)
    with (
        server.failing(r"GET .*/images-", status=status),
        pytest.raises(DataError, match=rf"^{URL}.*the store does not answer .*try again later$"),
    ):
        source[0]
    np.testing.assert_array_equal(source[0], IMAGES[0])


@pytest.mark.situation("a bucket that this account may not read, or that does not exist")
def test_no_permission_and_no_set_are_one_line(server):
    with (
        server.failing("GET .*manifest", status=403),
        pytest.raises(DataError, match=rf"^{URL}/manifest\.json: permission denied; "),
    ):
        open_source(config_of(URL), "train")
    source = open_set()
    with (
        server.failing("GET .*/images-", status=403),
        pytest.raises(DataError, match=rf"^{URL}/images-00000-of-00005\.array_record: permission denied; "),
    ):
        source[0]
    for url in ("gs://research/none", "gs://none-such/set"):
        with pytest.raises(DataError, match=rf"^{url}/manifest\.json: missing; "):
            open_source(config_of(url), "train")


@pytest.mark.situation("a set in a bucket that is damaged, or is replaced or removed while it is read")
def test_damage_names_the_object(server):
    name = f"sets/mine/{SHARD}"
    content = server.content(BUCKET, name)
    server.put(BUCKET, name, damaged(content, 12))
    source = open_set()
    np.testing.assert_array_equal(source[11], IMAGES[11])
    with pytest.raises(DataError, match=rf"^{URL}/{SHARD}: image 12 is damaged \(.*\); prepare the set again$"):
        source.several([11, 12])
    server.put(BUCKET, name, content[:-5])
    with pytest.raises(DataError, match=rf"^{URL}/{SHARD}: does not match its manifest"):
        open_set()
    server.delete(BUCKET, name, {})
    with pytest.raises(DataError, match=rf"^{URL}/{SHARD}: missing, though the manifest lists it"):
        open_set()
    server.put(BUCKET, "sets/mine/manifest.json", b"{}")
    with pytest.raises(DataError, match=rf"^{URL}/manifest\.json: not a manifest"):
        open_set()


def test_what_is_removed_or_replaced_while_it_is_read_is_named(server, monkeypatch):
    name = f"sets/mine/{SHARD}"
    content, source = server.content(BUCKET, name), open_set()
    server.delete(BUCKET, name, {})
    with pytest.raises(DataError, match=rf"^{URL}/{SHARD}: missing; "):
        source.several([0, 12])
    server.put(BUCKET, name, content[:1000])  # image 12 is beyond its end
    with pytest.raises(DataError, match=rf"^{URL}/{SHARD}: "):
        source[14]
    server.put(BUCKET, name, content)
    monkeypatch.setattr(bucket_set, "_LOOK", 0.0)
    source = open_set()
    source[0]
    server.put(BUCKET, name, damaged(content, 12))
    with pytest.raises(DataError, match=rf"^{URL}/{SHARD}: was replaced while it was read"):
        source[0]
    server.delete(BUCKET, name, {})
    with pytest.raises(DataError, match=rf"^{URL}/{SHARD}: was removed while it was read"):
        source[0]


def test_compressed_shards_of_earlier_versions_are_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "WRITER", "group_size:1,zstd:1")
    shards.write(tmp_path / "old", np.zeros((3000, 8, 8, 3), np.uint8), resolution=8, source={}, shard_images=4000)
    for file in (tmp_path / "old").iterdir():
        server.put(BUCKET, f"old/{file.name}", file.read_bytes())
    with pytest.raises(DataError, match=r"^gs://research/old/images-.*: compressed, "):
        open_set("gs://research/old")


def test_another_resolution_and_the_same_set_twice_name_the_field(server):
    config = config_of(URL)
    config.data.resolution = 2 * SIZE
    with pytest.raises(ConfigError, match=rf"data\.resolution is 16: {URL} was prepared with --resolution 8"):
        open_source(config, "train")
    with pytest.raises(ConfigError, match=r"data\.eval_path is .* the same as data\.path"):
        open_source(config_of(URL, eval_path=f"{URL}/"), "train")
