"""Images a second that the input gives from each kind of set, and how long a consumer waits for it, as JSON.

    python -m benchmarks.input_pipeline --out=input.json
    python -m benchmarks.input_pipeline --only=prepared --consumer-seconds=60 --consumer-rate=500
    python -m benchmarks.input_pipeline --only=zip --size=1024 --images=256 --prepare=256

It makes pictures with the structure and the grain of photographs once, and reads them as PNG and JPEG files in a
folder, a zip of the JPEGs, an LMDB of them and prepared, with 0, 1 and 2 reading threads, shuffled. They are few and
stay in the page cache, so this is what decoding and handing over cost; storage comes on top. The consumer takes
batches at a fixed rate, as a device does, from prepared files. `--prepare` times `hcflow_jax.data.prepare` instead.
"""

import argparse
import io
import json
import os
import platform
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict
from PIL import Image

from hcflow_jax import config as schema
from hcflow_jax.data import prepare, shards
from hcflow_jax.data.pipeline import train_batches

BATCH = 64
GRAIN = 5.0  # std of a picture's noise, levels: with it a PNG of 256 px has the 100 to 130 KB of a photograph
QUALITY = 95  # of the JPEGs
LATE = 1e-3  # seconds: taking a batch that is there takes less


def photo(index: int, size: int) -> UInt8[np.ndarray, "R R 3"]:
    """Smooth fields of falling amplitude from coarse to fine, and grain."""
    rng = np.random.default_rng(index)
    picture = np.full((size, size, 3), 128.0, np.float32)
    cells, amplitude = 2, 90.0
    while cells <= size // 4:
        for channel in range(3):
            field = Image.fromarray(rng.uniform(-1, 1, (cells + 1, cells + 1)).astype(np.float32))
            picture[..., channel] += amplitude * np.asarray(field.resize((size, size), Image.Resampling.BICUBIC))
        cells, amplitude = 2 * cells, amplitude / 2
    picture += GRAIN * rng.standard_normal(picture.shape, np.float32)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def encoded(picture: UInt8[np.ndarray, "R R 3"], kind: str) -> bytes:
    """As a PNG or JPEG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **({"quality": QUALITY} if kind == "JPEG" else {}))
    return file.getvalue()


def _files(directory: Path, pictures: Iterator[bytes], suffix: str) -> str:
    directory.mkdir()
    for i, picture in enumerate(pictures):
        (directory / f"{i:06d}{suffix}").write_bytes(picture)
    return str(directory)


def _zip(path: Path, pictures: Iterator[bytes]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for i, picture in enumerate(pictures):
            archive.writestr(f"{i:06d}.jpg", picture)
    return str(path)


def _lmdb(directory: Path, pictures: Iterator[bytes]) -> str:
    import lmdb

    with lmdb.open(str(directory), map_size=1 << 34) as environment, environment.begin(write=True) as transaction:
        for i, picture in enumerate(pictures):
            transaction.put(f"{i:06d}".encode(), picture)
    return str(directory)


class Sets:
    """The sets of a benchmark below a folder, each made when it is first asked for."""

    def __init__(self, directory: Path, images: int, size: int) -> None:
        self.images, self.size = images, size
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            self._pictures = list(pool.map(lambda i: photo(i, size), range(images)))
        self._jpegs = [encoded(picture, "JPEG") for picture in self._pictures]
        self._make: dict[str, tuple[str, Callable[[], str]]] = {
            "prepared": ("prepared", lambda: self._prepared(directory / "prepared")),
            "png": ("folder", lambda: _files(directory / "png", (encoded(p, "PNG") for p in self._pictures), ".png")),
            "jpeg": ("folder", lambda: _files(directory / "jpeg", iter(self._jpegs), ".jpg")),
            "zip": ("zip", lambda: _zip(directory / "jpegs.zip", iter(self._jpegs))),
            "lmdb": ("lsun", lambda: _lmdb(directory / "jpegs_lmdb", iter(self._jpegs))),
        }
        self._made: dict[str, str] = {}

    def _prepared(self, directory: Path) -> str:
        shards.write(directory, self._pictures, resolution=self.size, source={"kind": "benchmark"})
        return str(directory)

    def config(self, name: str, threads: int) -> ConfigDict:
        """A config that trains on one of them."""
        source, make = self._make[name]
        if name not in self._made:
            self._made[name] = make()
        config = schema.default()
        config.data.update(source=source, path=self._made[name], resolution=self.size, eval_images=0)
        config.data.read_threads = threads
        config.train.batch_size = BATCH
        return config

    def kilobytes(self, name: str) -> float:
        """A picture's share of what the set takes on disk."""
        path = Path(self._made[name])
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        return sum(512 * file.stat().st_blocks for file in files) / self.images / 1e3


def rate(config: ConfigDict, seconds: float) -> float:
    """Images a second of batches taken one after the other, the first left out."""
    with closing(train_batches(config)) as batches:
        next(batches)
        start, taken = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < seconds:
            taken += len(next(batches)["images"])
    return taken / elapsed


def prepare_rate(config: ConfigDict, resolution: int) -> float:
    """Images a second that `hcflow_jax.data.prepare` makes of an encoded set on all cores."""
    kind, path = config.data.source, config.data.path
    with tempfile.TemporaryDirectory(prefix="input_pipeline-") as directory:
        out = Path(directory, "out")
        start = time.perf_counter()
        with redirect_stdout(sys.stderr):
            status = prepare.main([f"--source={kind}:{path}", f"--out={out}", f"--resolution={resolution}"])
        if status:
            raise SystemExit(status)
        return shards.read_manifest(out)["count"] / (time.perf_counter() - start)


def consume(config: ConfigDict, seconds: float, per_second: float) -> dict[str, float]:
    """How long something waits that, given a batch, is busy until the next one is due, as a device is."""
    with closing(train_batches(config, place=lambda batch: batch["images"])) as batches:
        next(batches)
        start = ready = time.perf_counter()
        waits: list[float] = []
        while ready - start < seconds:
            asked = time.perf_counter()
            images = next(batches)
            now = time.perf_counter()
            waits.append(now - asked)
            # Having slept too long is made up for; having been kept waiting is not, as a device's idle time is lost.
            ready = (now if waits[-1] > LATE else ready) + len(images) / per_second
            time.sleep(max(0.0, ready - time.perf_counter()))
        elapsed = time.perf_counter() - start
    return {
        "seconds": elapsed,
        "images_per_second": len(waits) * BATCH / elapsed,
        "share_waiting": sum(waits) / elapsed,
        "longest_wait_seconds": max(waits),
    }


def main(argv: list[str] | None = None) -> None:
    """Prints the JSON, and writes it where --out says."""
    names = ("prepared", "png", "jpeg", "zip", "lmdb")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=names, help="one kind of set; may be repeated")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--size", type=int, default=256, help="of the pictures, pixels")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--consumer-seconds", type=float, default=0.0, help="how long to consume; 0: not at all")
    parser.add_argument("--consumer-rate", type=float, default=500.0, help="images a second it takes at most")
    parser.add_argument("--prepare", type=int, metavar="R", help="instead of reading, prepare the sets to R pixels")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)
    result: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "images": arguments.images,
        "pixels": arguments.size,
        "batch": BATCH,
        "sets": {},
    }
    with tempfile.TemporaryDirectory(prefix="input_pipeline-") as directory:
        sets = Sets(Path(directory), arguments.images, arguments.size)
        for name in arguments.only or names:
            if arguments.prepare:
                if name != "prepared":
                    made = prepare_rate(sets.config(name, 0), arguments.prepare)
                    result["sets"][name] = {"prepared_to": arguments.prepare, "images_per_second": made}
                continue
            rates = {str(n): rate(sets.config(name, n), arguments.seconds) for n in (0, 1, 2)}
            result["sets"][name] = {"kilobytes_per_image": sets.kilobytes(name), "images_per_second": rates}
        if arguments.consumer_seconds > 0:
            config = sets.config("prepared", schema.default().data.read_threads)
            result["consumer"] = {
                "rate": arguments.consumer_rate,
                **consume(config, arguments.consumer_seconds, arguments.consumer_rate),
            }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
