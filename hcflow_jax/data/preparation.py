"""Preparing a set of pictures: listed once, made shard by shard on all cores, published by one rename.

    .NAME.DIGEST.partial/names, work/    what is to be done, and the records of what is
    .NAME.DIGEST.partial/set/            becomes NAME when it is whole
    .NAME.DIGEST.partial/unfinished.json says that it is of NAME

The digest is of everything that decides the result, so a run that was stopped goes on, and one with another source
or resolution begins anew. No more than one shard a process is ever lost, and nothing in memory grows with the set.

For a set in a bucket, NAME is a path on this machine (`bucket_out.stage`). The shards go into the bucket one by one,
and the manifest goes there last, in place of the rename.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etils import epath

from hcflow_jax.config import ConfigError
from hcflow_jax.data import bucket_out, shards, unfinished, workers
from hcflow_jax.data.bucket_set import BucketSet
from hcflow_jax.data.encoded import Encoded
from hcflow_jax.data.listing import Listing, shard_images, write_names
from hcflow_jax.data.source import DataError
from hcflow_jax.files import HeldError, hidden, locked
from hcflow_jax.paths import Place

RECIPE = 1  # to be raised when the same pictures would give other pixels
REPORT = "report.json"
_PREPARE = "hcflow_jax.data.prepare_shard:prepare_shard"


@dataclass(frozen=True)
class Plan:
    """What is to be prepared, and where."""

    out: Path
    partial: Path
    listing: Listing
    source: dict[str, Any]  # as the manifest tells it
    resolution: int
    left_out: dict[str, int]  # files that are not taken for pictures, by ending
    bucket: epath.Path | None = None  # the directory in a bucket where the set is to be, instead of `out`

    @property
    def files(self) -> list[str]:
        """The shards' names, in order."""
        number = len(self.listing.starts)
        return [shards.shard_name(index, number) for index in range(number)]


@contextmanager
def only_writer(out: Path) -> Iterator[bool]:
    """Holds `.NAME.lock` beside a directory (see `files.locked`), and removes it in the end.

    Yields:
      Whether it is held: not on a file system without locks.

    Raises:
      DataError: naming the process that holds it.
      OSError: if the file cannot be made.
    """
    lock = hidden(out, "lock")
    try:
        with locked(lock) as held:
            try:
                yield held
            finally:
                lock.unlink(missing_ok=True)
    except HeldError as error:
        raise DataError(f"{out}: process {error.holder} is preparing it; wait for it or stop it") from None


def plan(
    encoded: Encoded, out: Path, resolution: int, held: bool = True, bucket: epath.Path | None = None
) -> Plan | None:
    """Lists a set beside `out`, and looks at what is there already; to be called by the only writer.

    Args:
      encoded: the pictures.
      out: the directory to make.
      resolution: R, pixels.
      held: whether the lock is; without it nothing that others may have made is removed.
      bucket: the directory in a bucket where the set is to be; `out` is then its `bucket_out.stage`.

    Returns:
      The plan, or None if `out` holds exactly this set.

    Raises:
      ConfigError: for something else at `out`, or too little room on the disk.
      DataError: for a set that cannot be listed, or is damaged at `out`.
    """
    fresh = unfinished.make(out)
    try:
        return _plan(encoded, out, resolution, fresh, held, bucket)
    finally:
        unfinished.remove(fresh)


def _plan(
    encoded: Encoded, out: Path, resolution: int, fresh: Path, held: bool, bucket: epath.Path | None
) -> Plan | None:
    listing = write_names(fresh / "names", encoded.names(), shard_images(resolution))
    if not listing.count:
        raise DataError(f"{encoded.name} contains no picture")
    source = {**encoded.describe(), "names": listing.digest, "recipe": RECIPE}
    left_out = dict(sorted(encoded.left_out.counts.items()))
    done = _is_there(bucket or out, source, resolution)
    # Another Pillow may decode to other pixels, so it does not go on with this one's shards; both results are right.
    made_with = {**source, "pillow": importlib.metadata.version("pillow")}
    digest = hashlib.sha256(json.dumps([made_with, resolution], sort_keys=True).encode()).hexdigest()
    partial = unfinished.path(out, digest)
    for left in unfinished.all_of(out) if held else ():
        if left == fresh or (left == partial and not done):
            continue
        if left != partial and (left / "set").exists():
            print(
                f"{left}: removed; it was left by a preparation of other pictures or another resolution",
                file=sys.stderr,
            )
        unfinished.remove(left)
    if done:
        return None
    made = sum(file.stat().st_size for file in (partial / "set").glob("*.array_record"))
    images = listing.count
    if bucket:  # a shard is on this machine only until it is sent
        images = min(images, workers.cores() * listing.shard_images)
    need, free = images * resolution**2 * 3 - made, shutil.disk_usage(out.parent).free
    if need > free:
        raise ConfigError(
            f"--out {out}: {images} images of {resolution} pixels need {need / 1e9:.3f} GB more, "
            f"and its disk has {free / 1e9:.3f} GB free"
        )
    for directory in (unfinished.make(out, digest) / "set", partial / "work"):
        directory.mkdir(exist_ok=True)
    (fresh / "names").replace(partial / "names")
    listing = dataclasses.replace(listing, file=partial / "names")
    return Plan(out, partial, listing, made_with, resolution, left_out, bucket)


def _is_there(out: Place, source: dict[str, Any], resolution: int) -> bool:
    other = f"--out {out}: it exists and is not a prepared set; name a directory that does not exist"
    if isinstance(out, Path):
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return False
        if not (out / shards.MANIFEST).is_file():
            raise ConfigError(other)
        manifest = shards.read_manifest(out)
    else:
        there = bucket_out.stored(out)
        if shards.MANIFEST not in there:
            if bucket_out.foreign(there, [REPORT]):
                raise ConfigError(other)
            return False
        manifest = BucketSet(out).manifest
    found = {key: value for key, value in manifest["source"].items() if key != "pillow"}
    if (found, manifest["resolution"]) != (source, resolution):
        keys = [key for key in source if found.get(key) != source[key]] or ["resolution"]
        raise ConfigError(f"--out {out}: holds a set with another {keys[0]} already; name another directory")
    return True


def make(plan: Plan, source: list[str], processes: int, fail: bool) -> dict[str, Any]:
    """Makes the shards that are not made yet and publishes the set.

    Args:
      plan: see `plan`.
      source: the arguments of `open_encoded`, for the processes.
      processes: how many.
      fail: whether a picture that cannot be read is an error.

    Returns:
      {"images", "skipped": number, "first": the first skipped picture's error or ""}.

    Raises:
      DataError: for what cannot be written, a process that died, a picture with `fail`, or no readable picture.
    """
    job = dict(source=source, resolution=plan.resolution, names=str(plan.listing.file), fail=fail)
    job |= dict(set=str(plan.partial / "set"), work=str(plan.partial / "work"), bucket=str(plan.bucket or ""))
    there = bucket_out.stored(plan.bucket) if plan.bucket else {}

    def jobs() -> Iterator[dict[str, Any]]:
        for index, file in enumerate(plan.files):
            start, count = plan.listing.shard(index)
            stored = dataclasses.asdict(there[file]) if file in there else None
            yield {**job, "file": file, "start": start, "count": count, "stored": stored}

    said: set[str] = set()
    name = (plan.bucket or plan.out).name
    with workers.bar(plan.listing.count, name) as bar:

        def report(message: dict[str, Any]) -> None:
            if message.get("kept"):  # no part of this run's images a second
                bar.initial += message["done"]
            bar.update(message.get("done", 0))
            kind = message.get("conversion")
            if kind and kind not in said:
                said.add(kind)
                bar.write(f"{message['name']}: {kind}; others like it are counted in {REPORT}", file=sys.stderr)

        what = f"preparing {name}"
        workers.run(_PREPARE, jobs(), report, workers=min(processes, len(plan.listing.starts)), what=what)
    return _publish(plan)


def _records(plan: Plan) -> Iterator[dict[str, Any]]:
    for file in plan.files:
        yield json.loads((plan.partial / "work" / f"{file}.json").read_bytes())


def _publish(plan: Plan) -> dict[str, Any]:
    entries, skipped, first, conversions = [], 0, "", Counter()
    for record in _records(plan):
        entries += [record["shard"]] if record["shard"] else []
        first = first or (record["skipped"][0][1] if record["skipped"] else "")
        skipped += len(record["skipped"])
        conversions.update(record["conversions"])
    if not entries:
        raise DataError(f"none of the {skipped} pictures can be read; the first: {first}")
    whole = plan.partial / "set"
    manifest = shards.make_manifest(entries, plan.resolution, plan.source)
    head = {"images": manifest["count"], "skipped": skipped, "conversions": dict(sorted(conversions.items()))}
    head |= {"left_out": plan.left_out}
    shards.write_whole(whole / shards.MANIFEST, [shards.manifest_text(manifest)])
    shards.write_whole(whole / REPORT, _report(plan, head))
    for left in set(whole.iterdir()) - {whole / name for name in (*plan.files, shards.MANIFEST, REPORT)}:
        left.unlink()  # by a run that was stopped
    if plan.bucket:
        bucket_out.check(plan.bucket, entries)
        for name in (REPORT, shards.MANIFEST):  # the set is there when its manifest is
            bucket_out.send(whole / name, f"{plan.bucket}/{name}")
    else:
        whole.rename(plan.out)
    unfinished.remove(plan.partial)
    return {**head, "first": first}


def _report(plan: Plan, head: dict[str, Any]) -> Iterator[str]:
    """The report's text; every picture may be in it, so it is never whole in memory."""
    yield json.dumps({**head, "unreadable": []}, indent=1)[: -len("]\n}")]
    between = "\n"
    for record in _records(plan):
        for picture, reason in record["skipped"]:
            yield f"{between}  {json.dumps({'picture': picture, 'reason': reason})}"
            between = ",\n"
    yield "\n ]\n}\n"
