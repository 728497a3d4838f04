"""Source: illustrated portraits, drawn once on all cores into a cache that checks itself.

Seeds "train-0", "train-1", ... and "eval-0", ... make disjoint sets of any size.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import environment, paths
from hcflow_jax.config import ConfigError
from hcflow_jax.data import render, shards, unfinished, workers
from hcflow_jax.data.source import DataError, Source, Split
from hcflow_jax.files import hidden, locked

_SHARD_IMAGES = 250  # small, so that many cores share the work evenly
_DRAW = "hcflow_jax.data.render:draw_shard"


def cache_root(path: str) -> Path:
    """`data.path`, or else the user's cache (XDG_CACHE_HOME is honoured).

    Raises:
      ConfigError: neither is there.
    """
    if path:
        return paths.local(path, "data.path")
    cache = environment.user_cache()
    if cache is None:
        raise ConfigError(
            "data.path is empty, and this user has no home for a cache: set it to a folder for the drawn "
            "portraits, or set HOME"
        )
    return cache / "hcflow_jax" / "portraits"


def open_portraits(data: ConfigDict, split: Split) -> Source:
    """Opens the portraits of a config; draws them first if the cache has not got exactly them.

    A directory a (style, resolution, split, count): `data.path`/toon-head-32px-train-12000.

    Raises:
      ConfigError: naming the field, for an unknown style or a count below 1; or if the packages are missing.
      DataError: if the cache cannot be written.
    """
    directory, wanted = _place(data, split)
    cached = _open(directory, wanted)
    if not isinstance(cached, str):
        return cached
    name, count = directory.name, data[f"{split}_images"]
    try:
        with _in_turn(directory):
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


def not_made(data: ConfigDict, split: Split) -> Path | None:
    """The folder in which `open_portraits` would make portraits; None if they are there. Nothing is written.

    Raises:
      ConfigError: as `open_portraits`.
      DataError: the folder cannot be written.
    """
    directory, wanted = _place(data, split)
    if not isinstance(_open(directory, wanted), str):
        return None
    there = next(parent for parent in directory.parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise DataError(f"{directory.parent}: the cache cannot be written ({there}); set data.path")
    return directory


def _place(data: ConfigDict, split: Split) -> tuple[Path, dict[str, Any]]:
    """The folder of the portraits of a config, and what its manifest must say."""
    field = f"{split}_images"
    count = data[field]
    if count < 1:
        raise ConfigError(f"data.{field} is {count}: expected at least 1")
    wanted = render.describe(data.style, data.resolution, f"{split}-0 ... {split}-{count - 1}")
    directory = cache_root(data.path).absolute() / f"{data.style}-{data.resolution}px-{split}-{count}"
    return directory, wanted


@contextmanager
def _in_turn(directory: Path) -> Iterator[None]:
    """One process at a time draws a directory; the others wait. Without a lock `shards.publish` is safe too."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with locked(hidden(directory, "lock"), wait=True) as held:
        for left_by_the_killed in unfinished.all_of(directory) if held else ():
            unfinished.remove(left_by_the_killed)
        yield


def _open(directory: Path, wanted: dict[str, Any]) -> shards.ShardSource | str:
    """The cache, or why it must be drawn again."""
    try:
        source = shards.ShardSource(directory, f"portraits {directory.name}")
    except DataError as error:
        return str(error)
    found = source.manifest["source"]
    changed = [key for key in wanted if found.get(key) != wanted[key]]
    return f"{directory}: was made with another {changed[0]}" if changed else source


def _draw(directory: Path, style: str, resolution: int, split: Split, count: int, source: dict[str, Any]) -> None:
    number = -(-count // _SHARD_IMAGES)

    def fill(temporary: Path) -> list[dict[str, Any]]:
        job = dict(directory=str(temporary), style=style, resolution=resolution, prefix=split)
        jobs = [
            {
                **job,
                "file": shards.shard_name(i, number),
                "start": i * _SHARD_IMAGES,
                "stop": min(count, (i + 1) * _SHARD_IMAGES),
            }
            for i in range(number)
        ]
        entries: list[dict[str, Any]] = []
        with workers.bar(count, directory.name) as bar:

            def report(message: dict[str, Any]) -> None:
                if "shard" in message:
                    entries.append(message["shard"])
                bar.update(message.get("done", 0))

            number_of_workers = min(number, workers.cores())
            workers.run(_DRAW, jobs, report, workers=number_of_workers, what=f"drawing {directory.name}")
        return sorted(entries, key=lambda entry: entry["file"])

    shards.publish(directory, fill, resolution=resolution, source=source)
