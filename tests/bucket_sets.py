"""What the tests of sets in buckets share: a server that answers like Google's store, and a prepared set in it."""
# pyright: reportMissingImports=false

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gcs_server import GcsServer

from hcflow_jax import config, paths
from hcflow_jax.data import bucket_set, fetching, shards

COUNT, SIZE = 23, 8
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8)
BUCKET = "research"  # of the fixture `gcs`
URL = f"gs://{BUCKET}/sets/mine"
SHARD = "images-00002-of-00005.array_record"  # has the images 10 to 14


def prepared(gcs: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GcsServer:
    """A fixture's body: the server, with the directory `local` prepared on this machine, and the same in the bucket.

    The user's cache is empty, and repeated requests do not wait.
    """
    import gcsfs.retry  # the extra `gcs`

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 1000)

    monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "_PAUSE", 0.01)
    monkeypatch.setattr(bucket_set, "_COPY_AFTER", 1_000_000)
    shards.write(tmp_path / "local", IMAGES, resolution=SIZE, source={"kind": "test"}, shard_images=5)
    for file in (tmp_path / "local").iterdir():
        gcs.put(BUCKET, f"sets/mine/{file.name}", file.read_bytes())
    return gcs


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
