"""Preparing a set into a bucket: shards are sent as soon as they are made, and the manifest is sent last.

A set in a bucket is there when its manifest is there. Before that, what is to be done and the records of what is done
are in a directory on this machine (`stage`), so the same command continues on the same machine.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etils import epath

from hcflow_jax import buckets, environment, paths
from hcflow_jax.buckets import Entry
from hcflow_jax.config import ConfigError
from hcflow_jax.data.source import DataError

_BLOCK = 16 << 20  # bytes that a check reads at a time


def stage(out: epath.Path) -> Path:
    """The path on this machine that takes the place of a set in a bucket: for its lock and its unfinished parts."""
    cache = environment.user_cache()
    folder = cache / "hcflow_jax" if cache else Path(tempfile.gettempdir(), f"hcflow_jax-{os.getuid()}")
    digest = hashlib.sha256(str(out).encode()).hexdigest()
    return folder / "preparing" / f"{paths.file_name(out.name, 100)}-{digest[:12]}"


def send(file: Path, target: str) -> str:
    """Moves a file into a bucket.

    Args:
      file: the file; it is removed.
      target: the path of the object.

    Returns:
      The MD5 of its content, in hexadecimal digits.

    Raises:
      DataError: the store refuses or does not answer.
    """
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "md5").hexdigest()
    try:
        place = paths.place(target, "--out", tuple(paths.STORES))
        assert isinstance(place, epath.Path)
        buckets.upload(file, place)
    except buckets.StoreError as error:
        raise DataError(str(error)) from error
    file.unlink()
    return digest


def stored(out: epath.Path) -> dict[str, Entry]:
    """What is in the bucket at the path of a set.

    Raises:
      DataError: the store refuses or does not answer.
    """
    try:
        return buckets.listing(out)
    except buckets.MissingObjectError as error:
        raise ConfigError(f"--out {error}") from error
    except buckets.StoreError as error:
        raise DataError(str(error)) from error


def check(out: epath.Path, entries: list[dict[str, Any]]) -> None:
    """Checks that all shards are in the bucket, before the manifest is written.

    Args:
      out: the directory of the set.
      entries: the entries of the shards in the manifest.

    Raises:
      DataError: a shard is missing or has another size, because something else wrote there.
    """
    there = stored(out)
    for entry in entries:
        found = there.get(entry["file"])
        if found is None or found.size != entry["bytes"]:
            raise DataError(f"{out}/{entry['file']}: something else changed it meanwhile; run the command again")


def foreign(there: dict[str, Entry], expected: list[str]) -> bool:
    """Whether there is something else than shards, which an earlier attempt left, and the expected names."""
    return any(not re.fullmatch(r"images-\d+-of-\d+\.array_record", name) for name in set(there) - set(expected))


def damage(out: epath.Path, entry: Mapping[str, Any]) -> str:
    """What is wrong with a shard in a bucket, in one line that names it; "" if it is as its entry says.

    Args:
      out: the directory of the set.
      entry: the entry of the shard in the manifest.

    Raises:
      DataError: the store refuses or does not answer.
    """
    path = out / entry["file"]
    try:
        with (
            buckets.named_errors(path),
            buckets.files_of(path).open(str(path), "rb", block_size=_BLOCK, cache_type="readahead") as content,
        ):
            same = hashlib.file_digest(content, "sha256").hexdigest() == entry["sha256"]
    except buckets.MissingObjectError:
        return f"{path}: missing, though the manifest lists it; prepare the set again"
    except buckets.StoreError as error:
        raise DataError(str(error)) from error
    return "" if same else f"{path}: does not match its manifest, so it is damaged; prepare the set again"
