"""One shard of a preparation: its pictures decoded and written, or, if that was done before, checked.

A shard that was made before is made again if one of its skipped pictures can be read now.

Light imports only: this module is what the preparing processes load.
"""

import functools
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hcflow_jax import data
from hcflow_jax.data import bucket_out, shards
from hcflow_jax.data.encoded import load
from hcflow_jax.data.listing import read_names
from hcflow_jax.data.source import DataError, ShortageError
from hcflow_jax.data.workers import Report

_REPORT = 25  # pictures between two reports of progress
_encoded = functools.lru_cache(maxsize=1)(data.open_encoded)  # opened once a process: an archive has to be listed


def prepare_shard(job: dict[str, Any], report: Report) -> None:
    """Makes `set`/`file` and, beside the set, its record `work`/`file`.json, which is written last.

    The record is {"shard": the manifest's entry, or null where no picture could be read, "skipped": [[picture,
    why]], "conversions": {kind: pictures}}. Both files appear whole, under names that were the process's own.

    Args:
      job: {"source": arguments of `open_encoded`, "resolution", "names": file, "start", "count", "set", "work",
        "file", "fail": whether a picture that cannot be read is an error, "bucket": the directory in a bucket that
        the shard goes to instead of `set`, or "", "stored": what the store knows about the shard that is there
        already (`buckets.Entry`), or null}.
      report: is told {"done": pictures}, with "kept": true for those of an earlier run, and {"conversion": kind,
        "name": picture} for the first of each kind.

    Raises:
      DataError: for a shard that cannot be written, or with "fail" a picture that cannot be read, naming it.
      ShortageError: for a picture that there is not enough memory for, with "fail" or without.
    """
    path, record_path = Path(job["set"]) / job["file"], Path(job["work"]) / f"{job['file']}.json"
    record = _finished(path, record_path, job)
    if record is not None and not _repaired(record["skipped"], job):
        _refuse(job, record["skipped"])
        report({"done": job["count"], "kept": True})
        return
    encoded, skipped, conversions = _encoded(*job["source"]), [], Counter()

    def say(what: str, name: str) -> None:
        conversions[what] += 1
        if conversions[what] == 1:
            report({"conversion": what, "name": name})

    def pictures() -> Iterator[UInt8[np.ndarray, "R R 3"]]:
        for done, name in enumerate(read_names(Path(job["names"]), job["start"], job["count"]), 1):
            try:
                image = load(encoded, name, job["resolution"], say)
            except ShortageError:
                raise
            except DataError as error:
                skipped.append([encoded.label(name), str(error)])
                _refuse(job, skipped)
            else:
                yield image
            if done % _REPORT == 0 or done == job["count"]:
                report({"done": (done - 1) % _REPORT + 1})

    own = Path(job["work"]) / f"{job['file']}.{os.getpid()}"
    entry = shards.write_shard(own, pictures())
    if entry["count"]:
        record = {"shard": {**entry, "file": job["file"]}, "skipped": skipped, "conversions": dict(conversions)}
        if job["bucket"]:
            record["md5"] = bucket_out.send(own, f"{job['bucket']}/{job['file']}")
        else:
            own.rename(path)
    else:
        own.unlink()
        record = {"shard": None, "skipped": skipped, "conversions": dict(conversions)}
    shards.write_whole(record_path, [json.dumps(record)])


def _finished(path: Path, record_path: Path, job: dict[str, Any]) -> dict[str, Any] | None:
    try:
        record = json.loads(record_path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if record["shard"] is None:
        return record
    if job["bucket"]:
        there = job["stored"]
        same = there and there["size"] == record["shard"]["bytes"] and there["md5"] in (None, record.get("md5"))
        return record if same else None
    return None if shards.damage(path.parent, record["shard"]) else record


def _repaired(skipped: list[list[str]], job: dict[str, Any]) -> bool:
    """Whether a picture that was skipped can be read now. Only the skipped pictures are decoded."""
    if not skipped:
        return False
    encoded, labels = _encoded(*job["source"]), {label for label, _ in skipped}
    for name in read_names(Path(job["names"]), job["start"], job["count"]):
        if encoded.label(name) in labels:
            try:
                load(encoded, name, job["resolution"], lambda what, name: None)
            except ShortageError:
                raise
            except DataError:
                continue
            return True
    return False


def _refuse(job: dict[str, Any], skipped: list[list[str]]) -> None:
    if job["fail"] and skipped:
        raise DataError(f"{skipped[0][1]}, or let --on-error skip leave it out")
