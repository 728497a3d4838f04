"""The prepared format: uint8 images in array_record shards beside a manifest that can tell they are whole.

    DIR/manifest.json                         format, version, count, resolution, source, content, shards
    DIR/images-00000-of-00048.array_record    each record: R * R * 3 bytes, row by row, RGB

A directory appears by one rename, so it is either absent or complete. `content` identifies the pixels: two
sets with the same images in the same shards have the same one, wherever and whenever they were prepared.

Records are not compressed. On 256-pixel images with the grain of photographs zstd:1 saved 2.5% and made reading
four times as slow: 2,400 images a second of one core's time against 9,300. Readers take either.
"""

import bisect
import hashlib
import itertools
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]
from jaxtyping import UInt8

from hcflow_jax.data import unfinished
from hcflow_jax.data.records import WRITER
from hcflow_jax.data.source import DataError
from hcflow_jax.files import replacing, sync
from hcflow_jax.paths import Place

FORMAT, VERSION, MANIFEST = "hcflow_jax images", 1, "manifest.json"
_HASH_LIMIT = 1 << 30  # bytes; a larger set is checked by its files' sizes, and each record as it is read


def shard_name(index: int, count: int) -> str:
    """File name of one of `count` shards."""
    return f"images-{index:05d}-of-{count:05d}.array_record"


def write_shard(path: Path, images: Iterable[UInt8[np.ndarray, "R R 3"]]) -> dict[str, Any]:
    """Writes one shard, down to the disk; returns its entry in the manifest.

    Raises:
      DataError: if it cannot be written, saying why; nothing is left of it.
    """
    pixels, count = hashlib.sha256(), 0
    try:
        with _said(path):
            # Groups of one record: random access reads an image without its neighbours.
            writer = array_record_module.ArrayRecordWriter(os.fsencode(path), WRITER)
        for image in images:
            record = np.ascontiguousarray(image, np.uint8).tobytes()
            pixels.update(record)
            with _said(path):
                writer.write(record)
            count += 1
        with _said(path):
            writer.close()
            sync(path)
    except DataError:
        path.unlink(missing_ok=True)
        raise
    return {
        "file": path.name,
        "count": count,
        "bytes": path.stat().st_size,
        "sha256": _sha256(path),
        "pixels": pixels.hexdigest(),
    }


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError) as error:  # array_record's reason begins with what it did and ends with where
        reason = str(error).split("failed: ")[-1].split(";")[0]
        raise DataError(f"{path}: cannot be written ({reason}); make room there and run again") from error


def write_whole(path: Path, text: Iterable[str]) -> None:
    """Writes a text, given in pieces: the file is absent or whole, whatever happens to process or machine.

    Raises:
      DataError: if it cannot be written, saying why.
    """
    with _said(path), replacing(path, durable=True) as partial, open(partial, "w") as file:
        file.writelines(text)


def make_manifest(shards: list[dict[str, Any]], resolution: int, source: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of shards (their entries, in order) of R x R images, and where those came from, as JSON."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "count": sum(shard["count"] for shard in shards),
        "resolution": resolution,
        "source": dict(source),
        "content": _content(resolution, shards),
        "shards": shards,
    }


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """A manifest as its file holds it."""
    return json.dumps(manifest, indent=1) + "\n"


def publish(
    directory: Path,
    fill: Callable[[Path], list[dict[str, Any]]],
    *,
    resolution: int,
    source: Mapping[str, Any],
) -> None:
    """Makes a prepared directory appear at once.

    Args:
      directory: where; must not exist, or be empty.
      fill: writes shards into the (temporary) directory it is given; returns their entries in order.
      resolution: R, pixels.
      source: where the images came from, as JSON; a cache compares it with what it would prepare.

    Raises:
      DataError: if something else is there already. If the same images are (another process was faster), this
        copy is dropped without a word.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished.make(directory)
    try:
        manifest = make_manifest(fill(temporary), resolution, source)
        (temporary / MANIFEST).write_text(manifest_text(manifest))
        (temporary / unfinished.MARKER).unlink()
        try:
            temporary.rename(directory)
        except OSError as error:
            if not directory.exists():
                raise
            if read_manifest(directory)["content"] != manifest["content"]:
                raise DataError(f"{directory}: holds other images already; move it away") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write(
    directory: Path,
    images: Iterable[UInt8[np.ndarray, "R R 3"]],
    *,
    resolution: int,
    source: Mapping[str, Any],
    shard_images: int = 1000,
) -> None:
    """Prepares images that one process can supply; see `publish`."""

    def fill(temporary: Path) -> list[dict[str, Any]]:
        shards, rest = [], iter(images)
        for index in itertools.count():
            path = temporary / f"{index}"
            shards.append(write_shard(path, itertools.islice(rest, shard_images)))
            if shards[-1]["count"] < shard_images:
                break
        if shards[-1]["count"] == 0:
            (temporary / shards.pop()["file"]).unlink()
        for index, shard in enumerate(shards):  # their number is known only now
            name = shard_name(index, len(shards))
            (temporary / shard["file"]).rename(temporary / name)
            shard["file"] = name
        return shards

    publish(directory, fill, resolution=resolution, source=source)


def read_manifest(directory: Place, check: bool = True, content: bytes | None = None) -> dict[str, Any]:
    """The manifest of a prepared directory, after checking that it is whole.

    Args:
      directory: where.
      check: whether the shards are checked too (`damage`); their bytes only in a set of at most 1 GiB. The directory
        must be on this machine.
      content: the bytes of the manifest, if they are read already.

    Raises:
      DataError: naming the file that is missing, of another version, or changed since it was written.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes() if content is None else content)
        kind, version = manifest["format"], manifest["version"]
    except FileNotFoundError:
        raise DataError(f"{path}: missing, so {directory} is not a prepared set of images") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a manifest ({error!r}); prepare the set again") from error
    if (kind, version) != (FORMAT, VERSION):
        raise DataError(f"{path}: {kind!r} version {version}, expected {FORMAT!r} {VERSION}; prepare it again")
    try:
        count = sum(shard["count"] for shard in manifest["shards"])
        whole = (
            count == manifest["count"]
            and _content(manifest["resolution"], manifest["shards"]) == manifest["content"]
            and isinstance(manifest["source"], dict)
        )
        size = sum(shard["bytes"] for shard in manifest["shards"])
        [(shard["file"], shard["sha256"]) for shard in manifest["shards"]]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: incomplete ({error!r}); prepare the set again") from error
    if not whole:
        raise DataError(f"{path}: does not agree with itself; it was changed, prepare the set again")
    if check and isinstance(directory, Path):
        for shard in manifest["shards"]:
            wrong = damage(directory, shard, hashed=size <= _HASH_LIMIT)
            if wrong:
                raise DataError(wrong)
    return manifest


def damage(directory: Path, shard: Mapping[str, Any], hashed: bool = True) -> str:
    """What is wrong with a shard's file, in one line that names it; "" if it is as its entry says.

    Args:
      directory: where it lies.
      shard: its entry in the manifest.
      hashed: whether its bytes are compared, and not only their number.
    """
    path = directory / shard["file"]
    try:
        same = path.stat().st_size == shard["bytes"] and (not hashed or _sha256(path) == shard["sha256"])
    except FileNotFoundError:
        return f"{path}: missing, though the manifest lists it; prepare the set again"
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}); prepare the set again"
    return "" if same else f"{path}: does not match its manifest, so it is damaged; prepare the set again"


class ShardSource:
    """A prepared directory as a source; its shards are checked when it is opened, unless a manifest is given."""

    identity_covers_pixels = True

    def __init__(self, directory: Path | str, name: str = "", manifest: dict[str, Any] | None = None) -> None:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        self.directory = Path(directory)
        self.manifest = manifest or read_manifest(self.directory)
        self.name = name or str(self.directory)
        self.identity = self.manifest["content"]
        if not self.manifest["shards"]:
            raise DataError(f"{self.directory}: contains no images")
        # The counts save it from opening every shard. A name goes as the operating system has it, since it may not be
        # UTF-8, and apart from the count: array_record's own notation, NAME[0:COUNT], does not know every name.
        files: Any = [
            SimpleNamespace(filename=os.fsencode(self.directory / shard["file"]), skip=0, take=n, examples_in_shard=n)
            for shard, n in ((shard, shard["count"]) for shard in self.manifest["shards"])
        ]
        self._records = ArrayRecordDataSource(files)

    def __len__(self) -> int:
        return self.manifest["count"]

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index} of the {len(self)} of {self.name}")
        resolution = self.manifest["resolution"]
        try:
            record = self._records[index]
            return np.frombuffer(record, np.uint8).reshape(resolution, resolution, 3)
        except (RuntimeError, ValueError) as error:
            ends = list(itertools.accumulate(shard["count"] for shard in self.manifest["shards"]))
            shard = self.manifest["shards"][bisect.bisect_right(ends, index)]["file"]
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{self.directory / shard}: image {index} is damaged ({reason}); prepare the set again"
            ) from error


def discard(directory: Path) -> None:
    """Removes a prepared directory, and nothing that is not one."""
    foreign = [p.name for p in directory.iterdir() if p.name != MANIFEST and p.suffix != ".array_record"]
    if foreign:
        raise DataError(f"{directory / foreign[0]}: not part of a prepared set; move it out of the cache")
    aside = unfinished.path(directory, uuid.uuid4().hex)
    directory.rename(aside)  # first out of sight, so that nobody sees a half of it
    unfinished.mark(aside, directory)
    shutil.rmtree(aside, ignore_errors=True)


def _content(resolution: int, shards: list[dict[str, Any]]) -> str:
    pixels = [[shard["count"], shard["pixels"]] for shard in shards]
    return hashlib.sha256(json.dumps([resolution, pixels]).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
