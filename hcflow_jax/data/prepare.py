"""Prepares a set once: `python -m hcflow_jax.data.prepare --source folder:DIR --out DIR --resolution 256`.

Every picture is turned upright, converted to RGB, cropped to its central square and resized (Lanczos), on all cores.
You can stop the command at any time; the same command continues. OUT/report.json names the pictures that could not be
read, and counts the files that were left out because of their endings. Train on the set with
--config.data.source=prepared --config.data.path=OUT. OUT can also be in a bucket, gs://BUCKET/NAME or s3://BUCKET/NAME.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hcflow_jax import buckets, data, paths
from hcflow_jax.commands import FAILED, Parser, as_any_place, fail, run_main
from hcflow_jax.config import ConfigError
from hcflow_jax.data import DataError, bucket_out, preparation, shards, workers
from hcflow_jax.data.bucket_set import BucketSet, open_set
from hcflow_jax.data.encoded import Encoded

_KINDS = ("folder", "zip", "lsun", "tfds")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("python -m hcflow_jax.data.prepare", __doc__)
    parser.add_argument("--source", metavar="KIND:WHERE", help="folder:DIR, zip:FILE, lsun:DIR or tfds:NAME")
    parser.add_argument(
        "--out", metavar="DIR", type=as_any_place, help="the directory to make, or gs://BUCKET/NAME, s3://BUCKET/NAME"
    )
    parser.add_argument("--resolution", metavar="R", type=int, help="side of the prepared images, pixels")
    parser.add_argument("--data-dir", metavar="DIR", default="", help="for tfds: the data_dir with its sets")
    parser.add_argument(
        "--workers", metavar="N", type=int, default=workers.cores(), help="number of processes; default: one per core"
    )
    parser.add_argument(
        "--on-error", choices=["skip", "fail"], default="skip", help="for a picture that cannot be read"
    )
    parser.add_argument(
        "--check", metavar="DIR", type=as_any_place, help="only compare a prepared directory with its checksums"
    )
    values = parser.parse_args(argv)
    if values.check:
        return values
    for name in ("source", "out", "resolution"):
        if getattr(values, name) is None:
            raise ConfigError(f"--{name} is missing; see --help")
    if values.resolution < 1:
        raise ConfigError(f"--resolution is {values.resolution}: expected pixels, at least 1")
    if values.workers < 1:
        raise ConfigError(f"--workers is {values.workers}: expected processes, at least 1")
    kind, _, where = values.source.partition(":")
    if kind not in _KINDS or not where:
        raise ConfigError(f"--source is {values.source!r}: expected folder:DIR, zip:FILE, lsun:DIR or tfds:NAME")
    if kind != "tfds":
        paths.local(where, f"--source {kind}:")
    elif values.data_dir:
        paths.local(values.data_dir, "--data-dir")
    values.source = [kind, values.data_dir, where] if kind == "tfds" else [kind, where, ""]
    if isinstance(values.out, Path):
        values.out = Path(os.path.realpath(values.out))
    return values


def _outside(encoded: Encoded, out: Path) -> None:
    inside = encoded.describe().get("path")
    if inside and Path(inside).is_dir() and out.is_relative_to(os.path.realpath(inside)):
        raise ConfigError(f"--out {out}: is inside the source {inside}; name a directory outside of it")


def prepare(values: argparse.Namespace) -> int:
    """Prepares the set of the arguments; returns the exit status.

    Raises:
      ConfigError: an argument is wrong; nothing was written.
      DataError: the source is missing, or another process prepares the same set.
    """
    encoded = data.open_encoded(*values.source)
    out: paths.Place = values.out
    bucket = None if isinstance(out, Path) else out
    here = out if isinstance(out, Path) else bucket_out.stage(out)
    _outside(encoded, here)
    try:
        here.parent.mkdir(parents=True, exist_ok=True)
        with preparation.only_writer(here) as held:
            plan = preparation.plan(encoded, here, values.resolution, held, bucket)
            if str(encoded.left_out):
                print(f"left out, not pictures by their endings: {encoded.left_out}", flush=True)
            if plan is None:
                print(f"{out}: already prepared, {_contents(out)}")
                _say_skipped(out)
                return 0
            try:
                made = preparation.make(plan, values.source, values.workers, values.on_error == "fail")
            except DataError as error:
                return fail(error, FAILED)
    except BrokenPipeError:  # the reader of the output is gone
        raise
    except OSError as error:
        where = error.filename or here.parent
        raise ConfigError(f"--out {out}: {where} cannot be written ({error.strerror})") from error
    print(f"{out}: {_contents(out)}")
    if made["skipped"]:
        print(f"could not be read and were skipped: {made['skipped']}, all named in {out / preparation.REPORT}")
        print(f"the first: {made['first']}")
    return 0


def _say_skipped(out: paths.Place) -> None:
    """Says how many pictures a finished set lacks. Repaired ones do not get into it any more."""
    report = out / preparation.REPORT
    try:
        with buckets.named_errors(report):
            skipped = json.loads(report.read_bytes())["skipped"]
    except (OSError, ValueError, LookupError, TypeError):  # the set is whole without its report
        return
    if skipped:
        print(f"skipped pictures: {skipped}, named in {report}; to include repaired ones, prepare into another --out")


def check(directory: paths.Place) -> int:
    """Compares every shard of a prepared directory with its checksum; returns the exit status."""
    local = isinstance(directory, Path)
    # A set in a bucket is opened as for training, so a shard of another size ends the check.
    entries = (shards.read_manifest(directory, check=False) if local else BucketSet(directory).manifest)["shards"]
    damaged = 0
    total = sum(entry["bytes"] for entry in entries)
    with (
        ThreadPoolExecutor(workers.cores()) as pool,
        workers.bar(total, directory.name, unit="B", unit_scale=True) as bar,
    ):
        damage = shards.damage if isinstance(directory, Path) else bucket_out.damage
        wrongs = pool.map(lambda entry: damage(directory, entry), entries)  # pyright: ignore[reportArgumentType]
        for entry, wrong in zip(entries, wrongs, strict=True):
            if wrong:
                damaged += 1
                bar.write(f"error: {wrong}", file=sys.stderr)
            bar.update(entry["bytes"])
    if damaged:
        print(f"{directory}: {damaged} of its {len(entries)} files are damaged", file=sys.stderr)
        return FAILED
    print(f"{directory}: its {len(entries)} files are complete, {_contents(directory)}")
    return 0


def _contents(directory: paths.Place) -> str:
    """A text that identifies the set, so that two people can compare their sets."""
    source = open_set(directory)
    first = hashlib.sha256(source[0].tobytes()).hexdigest()[:16]
    size, content = source.manifest["resolution"], source.identity[:16]
    return f"{len(source)} images of {size} pixels, content {content}, first image {first}"


def _run(argv: Sequence[str]) -> int:
    values = _parse(argv)
    if not values.check:
        return prepare(values)
    try:
        return check(values.check)
    except DataError as error:
        return fail(error, FAILED)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the arguments and does what they say.

    Returns:
      The process's exit status: 0; 2 after one line if the user must correct something before the work starts; 1
      after one line if something failed later, or the set is damaged; otherwise see `commands.run_main`.
    """
    return run_main(_run, argv, stopped="stopped; the same command continues")


if __name__ == "__main__":
    sys.exit(main())
