"""Source: illustrated portraits, drawn once on all cores into a cache that checks itself.

Seeds "train-0", "train-1", ... and "eval-0", ... make disjoint sets of any size.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from tqdm import tqdm

from hcflow_jax.config import ConfigError
from hcflow_jax.data import render, shards
from hcflow_jax.data.source import DataError, Source, Split

_SHARD_IMAGES = 250  # small, so that many cores share the work evenly
_WORKER = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from hcflow_jax.data.render import main; main()"


def cache_root(path: str) -> Path:
    """`data.path`, or else the user's cache (XDG_CACHE_HOME is honoured)."""
    if path:
        return Path(path).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "hcflow_jax" / "portraits"


def open_portraits(data: ConfigDict, split: Split) -> Source:
    """Opens the portraits of a config; draws them first if the cache has not got exactly them.

    A directory a (style, resolution, split, count): `data.path`/toon-head-32px-train-12000.

    Raises:
      ConfigError: naming the field, for an unknown style or a count below 1; or if the packages are missing.
      DataError: if the cache cannot be written.
    """
    field = f"{split}_images"
    count = data[field]
    if count < 1:
        raise ConfigError(f"data.{field} is {count}: expected at least 1")
    name = f"{data.style}-{data.resolution}px-{split}-{count}"
    wanted = render.describe(data.style, data.resolution, f"{split}-0 ... {split}-{count - 1}")
    directory = cache_root(data.path).absolute() / name
    cached = _open(directory, wanted)
    if not isinstance(cached, str):
        return cached
    try:
        with shards.lock(directory):
            cached = _open(directory, wanted)  # another process may have drawn them meanwhile
            if not isinstance(cached, str):
                return cached
            if directory.exists():
                logging.getLogger(__name__).warning("drawing portraits again: %s", cached)
                shards.discard(directory)
            _draw(directory, data.style, data.resolution, split, count, wanted)
    except OSError as error:
        raise DataError(
            f"{directory.parent}: the cache cannot be written ({error.strerror}); set data.path"
        ) from error
    return shards.ShardSource(directory, f"portraits {name}")


def _open(directory: Path, wanted: dict[str, Any]) -> shards.ShardSource | str:
    """The cache, or why it must be drawn again."""
    try:
        source = shards.ShardSource(directory, f"portraits {directory.name}")
    except DataError as error:
        return str(error)
    found = source.manifest["source"]
    changed = [key for key in wanted if found.get(key) != wanted[key]]
    return f"{directory}: was drawn with another {changed[0]}" if changed else source


def _draw(directory: Path, style: str, resolution: int, split: Split, count: int, source: dict[str, Any]) -> None:
    number = -(-count // _SHARD_IMAGES)
    ranges = [
        [shards.shard_name(i, number), i * _SHARD_IMAGES, min(count, (i + 1) * _SHARD_IMAGES)] for i in range(number)
    ]

    def fill(temporary: Path) -> list[dict[str, Any]]:
        job = dict(directory=str(temporary), style=style, resolution=resolution, prefix=split)
        workers = min(number, _cores())
        jobs = [{**job, "shards": ranges[i::workers]} for i in range(workers)]
        entries: list[dict[str, Any]] = []
        # In a file or a pipe a bar is many lines: one in ten seconds is enough there.
        pause = 0.2 if sys.stderr.isatty() else 10
        with tqdm(total=count, desc=directory.name, unit=" images", mininterval=pause, leave=False) as bar:

            def report(message: dict[str, Any]) -> None:
                if "shard" in message:
                    entries.append(message["shard"])
                bar.update(message.get("done", 0))

            if workers == 1:
                render.draw_shards(jobs[0], report)
            else:
                _run(jobs, report)
        return sorted(entries, key=lambda entry: entry["file"])

    shards.publish(directory, fill, resolution=resolution, source=source)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(jobs: list[dict[str, Any]], report: Callable[[dict[str, Any]], None]) -> None:
    """Runs each job in a process of its own.

    Plain subprocesses rather than multiprocessing: forking a process in which jax runs threads may hang, and
    spawning imports the caller's main module (and jax) once more in every worker.
    """
    ours, theirs = os.pipe()
    workers: list[subprocess.Popen[bytes]] = []
    try:
        with os.fdopen(ours) as reports:
            for job in jobs:
                command = [sys.executable, "-c", _WORKER, json.dumps(sys.path)]
                worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=theirs)
                workers.append(worker)
                assert worker.stdin is not None
                with contextlib.suppress(BrokenPipeError):  # it died at once: its return code tells
                    worker.stdin.write(json.dumps(job).encode())
                    worker.stdin.close()
            os.close(theirs)  # the workers hold the other ends: the pipe ends when the last of them does
            theirs = -1
            for line in reports:
                report(json.loads(line))
        if any(worker.wait() for worker in workers):
            raise DataError("portraits: a drawing process failed, its message is above; nothing was kept")
    finally:
        if theirs >= 0:
            os.close(theirs)
        for worker in workers:
            worker.kill()
            worker.wait()
