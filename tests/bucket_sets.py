"""What the tests of sets in buckets share: a server that answers like Google's store, and a prepared set in it."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from gcs_server import GcsServer

from hcflow_jax import config, paths
from hcflow_jax.data import bucket_set, fetching, shards

COUNT, SIZE = 23, 8
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
URL = "gs://bucket/sets/mine"
SHARD = "images-00002-of-00005.array_record"  # has the images 10 to 14


def server(tmp_path, monkeypatch) -> Iterator[GcsServer]:
    """A fixture's body: the server, with the directory `local` prepared on this machine, and the same in the bucket.

    The libraries find it, the user's cache is empty, and repeated requests do not wait.
    """
    import fsspec
    import gcsfs.retry  # the extra `gcs`

    started = GcsServer()
    started.buckets["bucket"] = {}
    for name, value in {**started.environment, "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 1000)

    monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(fetching, "_PAUSE", 0.01)
    monkeypatch.setattr(bucket_set, "_COPY_AFTER", 1_000_000)
    shards.write(tmp_path / "local", IMAGES, resolution=SIZE, source={"kind": "test"}, shard_images=5)
    for file in (tmp_path / "local").iterdir():
        started.put("bucket", f"sets/mine/{file.name}", file.read_bytes())
    fsspec.get_filesystem_class("gcs").clear_instance_cache()
    yield started
    fsspec.get_filesystem_class("gcs").clear_instance_cache()
    started.close()


def open_set(url: str = URL, **options: Any) -> bucket_set.BucketSet:
    """The set in the bucket."""
    place = paths.place(url, stores=bucket_set.STORES)
    assert not isinstance(place, Path)
    return bucket_set.BucketSet(place, **options)


def config_of(path: object, **fields: Any):
    """A config that trains on a set."""
    made = config.default()
    made.data.update(source="prepared", path=str(path), resolution=SIZE, eval_images=4, **fields)
    made.train.update(batch_size=6, init_images=6)
    made.eval.update(images=4, batch_size=4)
    return made


def damaged(content: bytes, index: int) -> bytes:
    """A shard with one changed byte in an image of `IMAGES`."""
    changed = bytearray(content)
    changed[content.index(IMAGES[index].tobytes()) + 50] ^= 1
    return bytes(changed)


def until(condition, seconds: float = 20) -> None:
    """Waits for a condition; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
