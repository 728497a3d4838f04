"""Prepares a set once: `python -m hcflow_jax.data.prepare --source folder:DIR --out DIR --resolution 256`.

Every picture is turned upright, made RGB, cut to the square at its centre and resized (Lanczos), on all cores. It
can be stopped at any time: the same command goes on. OUT/report.json names the pictures that could not be read,
and counts the files that were left out for their endings.
Train on the set with --config.data.source=prepared --config.data.path=OUT.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hcflow_jax import data, paths
from hcflow_jax.commands import FAILED, Parser, as_path, fail, run_main
from hcflow_jax.config import ConfigError
from hcflow_jax.data import DataError, preparation, shards, workers
from hcflow_jax.data.encoded import Encoded

_KINDS = ("folder", "zip", "lsun", "tfds")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("python -m hcflow_jax.data.prepare", __doc__)
    parser.add_argument("--source", metavar="KIND:WHERE", help="folder:DIR, zip:FILE, lsun:DIR or tfds:NAME")
    parser.add_argument("--out", metavar="DIR", type=as_path, help="the directory to make")
    parser.add_argument("--resolution", metavar="R", type=int, help="pixels a side")
    parser.add_argument("--data-dir", metavar="DIR", default="", help="tfds: where its sets lie")
    parser.add_argument("--workers", metavar="N", type=int, default=workers.cores(), help="processes; default: cores")
    parser.add_argument("--on-error", choices=["skip", "fail"], default="skip", help="a picture that cannot be read")
    parser.add_argument(
        "--check", metavar="DIR", type=as_path, help="compare a prepared directory with its checksums"
    )
    values = parser.parse_args(argv)
    if values.check:
        return values
    for name in ("source", "out", "resolution"):
        if getattr(values, name) is None:
            raise ConfigError(f"--{name} is missing; --help tells what is needed")
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
    values.out = Path(os.path.realpath(values.out))
    return values


def _outside(encoded: Encoded, out: Path) -> None:
    inside = encoded.describe().get("path")
    if inside and Path(inside).is_dir() and out.is_relative_to(os.path.realpath(inside)):
        raise ConfigError(f"--out {out}: lies in the source {inside}; name a directory outside of it")


def prepare(values: argparse.Namespace) -> int:
    """Prepares what the arguments ask for; returns the exit status.

    Raises:
      ConfigError: for what the arguments have wrong; nothing was touched.
      DataError: for a source that is missing, or another process that prepares the same.
    """
    encoded = data.open_encoded(*values.source)
    out: Path = values.out
    _outside(encoded, out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with preparation.only_writer(out) as held:
            plan = preparation.plan(encoded, out, values.resolution, held)
            if str(encoded.left_out):
                print(f"left out, not taken for pictures: {encoded.left_out}", flush=True)
            if plan is None:
                print(f"{out}: already prepared, {_contents(out)}")
                return 0
            try:
                made = preparation.make(plan, values.source, values.workers, values.on_error == "fail")
            except DataError as error:
                return fail(error, FAILED)
    except OSError as error:
        where = error.filename or out.parent
        raise ConfigError(f"--out {out}: {where} cannot be written ({error.strerror})") from error
    print(f"{out}: {_contents(out)}")
    if made["skipped"]:
        print(f"unreadable and skipped: {made['skipped']}, all named in {out / preparation.REPORT}")
        print(f"the first: {made['first']}")
    return 0


def check(directory: Path) -> int:
    """Compares every shard of a prepared directory with its checksum; returns the exit status."""
    entries = shards.read_manifest(directory, check=False)["shards"]
    damaged = 0
    total = sum(entry["bytes"] for entry in entries)
    with (
        ThreadPoolExecutor(workers.cores()) as pool,
        workers.bar(total, directory.name, unit="B", unit_scale=True) as bar,
    ):
        wrongs = pool.map(lambda entry: shards.damage(directory, entry), entries)
        for entry, wrong in zip(entries, wrongs, strict=True):
            if wrong:
                damaged += 1
                bar.write(f"error: {wrong}", file=sys.stderr)
            bar.update(entry["bytes"])
    if damaged:
        print(f"{directory}: {damaged} of its {len(entries)} files are damaged", file=sys.stderr)
        return FAILED
    print(f"{directory}: its {len(entries)} files are whole, {_contents(directory)}")
    return 0


def _contents(directory: Path) -> str:
    """What tells a set from another: to be compared with a colleague's, or with docs/data.md."""
    source = shards.ShardSource(directory)
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
      The process's exit status: 0; 2 after one line for what the user has to put right before anything is done; 1
      after one line for what went wrong on the way, or for a damaged set; 130 when interrupted.
    """
    return run_main(_run, argv, stopped="stopped; the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
