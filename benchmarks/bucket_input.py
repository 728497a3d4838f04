"""How fast training gets its images from a set in a bucket, and when it gets the first ones, as JSON.

    python -m benchmarks.bucket_input --latency=0.03

A server in another process answers like Google Cloud Storage, and waits before each answer. Its set has as many
images as LSUN bedroom, in 512 files, with the manifest that `hcflow_jax.data.prepare` makes. All images are the same,
and the server makes the bytes of a file when they are asked for. No copies are made on this machine. The server and
the reader share this machine's processor, so this is what the processor can do. The network comes on top.
"""

import argparse
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
BUCKET, NAME = "bucket", "lsun/bedroom"
IMAGES, FILES = 3_033_042, 512


class Shard:
    """The bytes of a file with equal images. Only what is read is made, without the headers of the blocks."""

    def __init__(self, resolution: int, count: int) -> None:
        from hcflow_jax.data import records, shards

        picture = np.random.default_rng(0).integers(0, 256, (resolution, resolution, 3), np.uint8)
        layout = records.Records(picture.size)
        with tempfile.TemporaryDirectory() as folder:
            shards.write_shard(Path(folder, "one"), [picture])
            start, stop = layout.span(0)
            content = Path(folder, "one").read_bytes()
            self.about = {"count": count, "bytes": layout.span(count)[1], "sha256": "", "pixels": ""}
        self.chunk = np.frombuffer(b"".join(content[a:b] for a, b in records.pieces(start, stop)), np.uint8)
        self.start = start

    def __len__(self) -> int:
        return self.about["bytes"]

    def __getitem__(self, part: slice) -> bytes:
        place = np.arange(*part.indices(len(self)))
        place -= 24 * (place // (1 << 16)) + self.start  # without the headers of the blocks
        return self.chunk[place % len(self.chunk)].tobytes()


def serve(resolution: int, latency: float, images: int) -> None:
    """Serves the set until the input ends."""
    sys.path.insert(0, str(ROOT / "tests"))
    import gcs_server  # pyright: ignore[reportMissingImports]

    from hcflow_jax.data import shards

    class Stored(gcs_server.Stored):
        @functools.cached_property
        def checksums(self) -> dict[str, str]:
            return {"md5Hash": "", "crc32c": ""}

    gcs_server.PAGE = 1000  # as the real one
    server = gcs_server.GcsServer()
    server.buckets[BUCKET] = {}
    entries = []
    each = -(-images // FILES)
    files = -(-images // each)
    full, last = Shard(resolution, each), Shard(resolution, images - (files - 1) * each)
    for index in range(files):
        shard, name = last if index == files - 1 else full, shards.shard_name(index, files)
        entries.append({"file": name, **shard.about})
        content: Any = shard
        server.buckets[BUCKET][f"{NAME}/{name}"] = Stored(content, index + 1, time.time(), "")
    manifest = shards.manifest_text(shards.make_manifest(entries, resolution, {"kind": "benchmark"}))
    server.put(BUCKET, f"{NAME}/{shards.MANIFEST}", manifest.encode())
    server.faults.append(gcs_server.Fault("GET", seconds=latency, passes=True))
    print(json.dumps(server.environment), flush=True)
    sys.stdin.read()


def measure(resolution: int, batch: int, threads: int, seconds: float) -> dict[str, float]:
    """Opens the set; takes batches."""
    from hcflow_jax import config as schema
    from hcflow_jax.data import open_source
    from hcflow_jax.data.pipeline import train_batches

    config = schema.default()
    config.data.update(source="prepared", path=f"gs://{BUCKET}/{NAME}", resolution=resolution, cache_gigabytes=0.0)
    config.data.read_threads = threads
    config.train.batch_size = batch
    start = time.perf_counter()
    source = open_source(config, "train")
    opened = time.perf_counter() - start
    with closing(train_batches(config, source=source)) as batches:
        next(batches)
        first = time.perf_counter() - start
        begun, taken = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - begun) < seconds:
            taken += len(next(batches)["images"])
    return {
        "threads": threads,
        "open_seconds": round(opened, 3),
        "first_batch_seconds": round(first, 3),
        "images_per_second": round(taken / elapsed, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.03, help="seconds before each answer")
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4], help="values of data.read_threads")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    values = parser.parse_args()
    if values.serve:
        return serve(values.resolution, values.latency, values.images)
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bucket_input", "--serve", *sys.argv[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        os.environ.update(json.loads(server.stdout.readline()))
        found = [measure(values.resolution, values.batch, threads, values.seconds) for threads in values.threads]
    finally:
        server.communicate()
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    asked = {name: value for name, value in vars(values).items() if name not in ("serve", "threads")}
    print(json.dumps({**machine, **asked, "measured": found}, indent=1))


if __name__ == "__main__":
    main()
