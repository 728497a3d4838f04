"""A prepared set in a bucket as a source.

An image that is not on this machine yet is one request for its part of a shard. Requests take long, so many are made
at the same time. After a while a thread copies the shards to this machine, if its disk has room (`copies`). The
images are the same and in the same order as in a set on this machine.
"""

import bisect
import hashlib
import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8

from hcflow_jax import environment, paths
from hcflow_jax.data import shards
from hcflow_jax.data.copies import Copies
from hcflow_jax.data.fetching import Fetcher
from hcflow_jax.data.records import Records
from hcflow_jax.data.source import DataError

STORES = tuple(paths.STORES)
_COPY_AFTER = 500  # images: a command that looks at a few does not copy the set
_LOOK = 600.0  # seconds between two looks at whether somebody replaced the shards


class BucketSet:
    """A prepared set in a bucket. It is thread-safe.

    Attributes:
      name, identity: see `Source`.
      manifest: the manifest of the set.
      copies: the copies on this machine; None if there is no room for any.
    """

    identity_covers_pixels = True

    def __init__(
        self, directory: epath.Path, name: str = "", *, cache_bytes: int = 0, patience: float = 300.0
    ) -> None:
        """Reads the manifest, and compares the sizes of the shards with it. That takes two or three requests.

        Args:
          directory: the directory in the bucket.
          name: for messages and logs; "": the path.
          cache_bytes: the disk space of this machine that copies of all sets may take; 0: no copies are made.
          patience: seconds that reading waits for a store that does not answer.

        Raises:
          DataError: there is no such set, or it is damaged; the message names the file.
        """
        self.directory, self.name = directory, name or str(directory)
        self._fetcher = Fetcher(directory, patience)
        [content] = self._fetcher.parts([(shards.MANIFEST, None, None)])
        self.manifest = shards.read_manifest(directory, content=content)
        self.identity = self.manifest["content"]
        if not self.manifest["shards"]:
            raise DataError(f"{directory}: contains no images")
        self._shape = (self.manifest["resolution"], self.manifest["resolution"], 3)
        self._records = Records(int(np.prod(self._shape)))
        self._ends = list(itertools.accumulate(shard["count"] for shard in self.manifest["shards"]))
        self._check_sizes()
        self._next_look, self._looking = time.monotonic() + _LOOK, threading.Lock()
        self._read = 0
        self.copies = self._make_copies(cache_bytes)

    def _check_sizes(self) -> None:
        self._stored = self._fetcher.listing()
        for shard in self.manifest["shards"]:
            path, found = self.directory / shard["file"], self._stored.get(shard["file"])
            if found is None:
                raise DataError(f"{path}: missing, though the manifest lists it; prepare the set again")
            if found.size != shard["bytes"]:
                raise DataError(f"{path}: does not match its manifest, so it is damaged; prepare the set again")
            if shard["bytes"] < shard["count"] * np.prod(self._shape):
                raise DataError(
                    f"{path}: compressed, as only early versions of this package wrote it; copy the directory to "
                    "this machine and name that copy, or prepare the set again"
                )

    def _make_copies(self, most: int) -> Copies | None:
        cache = environment.user_cache()
        if most <= 0 or cache is None:
            return None
        digest = hashlib.sha256("".join(shard["sha256"] for shard in self.manifest["shards"]).encode()).hexdigest()
        folder = cache / "hcflow_jax" / "sets" / f"{paths.file_name(self.directory.name, 100)}-{digest[:12]}"
        self._here = shards.ShardSource(folder, self.name, self.manifest)
        return Copies(self._fetcher, self.manifest["shards"], folder, most)

    def __len__(self) -> int:
        return self.manifest["count"]

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "R R 3"]:
        return self.several([index])[0]

    def several(self, indices: Sequence[int]) -> list[UInt8[np.ndarray, "R R 3"]]:
        """Reads images, those that are not on this machine at the same time. See `source.several`."""
        for index in indices:
            if not 0 <= index < len(self):
                raise IndexError(f"image {index} of the {len(self)} of {self.name}")
        if self.copies:
            if self.copies.error:
                raise DataError(str(self.copies.error))
            self._read += len(indices)
            if self._read >= _COPY_AFTER:
                self.copies.start(self)
        self._look()
        images = [self._copied(index) for index in indices]
        missing = [place for place, image in enumerate(images) if image is None]
        for place, image in zip(missing, self._fetched([indices[place] for place in missing]), strict=True):
            images[place] = image
        return [image for image in images if image is not None]

    def _copied(self, index: int) -> UInt8[np.ndarray, "R R 3"] | None:
        """An image of a shard that is on this machine."""
        shard = bisect.bisect_right(self._ends, index)
        if self.copies is None or shard not in self.copies.complete:
            return None
        try:
            return self._here[index]
        except DataError as error:
            self.copies.drop(shard, error)
            return None

    def _fetched(self, indices: Sequence[int]) -> list[UInt8[np.ndarray, "R R 3"]]:
        """Images from the bucket."""
        wanted = []  # the file, and the number of the record in it
        for index in indices:
            shard = bisect.bisect_right(self._ends, index)
            entry = self.manifest["shards"][shard]
            wanted.append((entry["file"], index - self._ends[shard] + entry["count"]))
        contents = self._fetcher.parts([(file, *self._records.span(number)) for file, number in wanted])
        images = []
        for index, (file, number), content in zip(indices, wanted, contents, strict=True):
            try:
                record = self._records.read(content, number)
            except ValueError as error:
                raise DataError(
                    f"{self.directory / file}: image {index} is damaged ({error}); prepare the set again"
                ) from error
            images.append(np.frombuffer(record, np.uint8).reshape(self._shape))
        return images

    def _look(self) -> None:
        """From time to time compares the shards in the bucket with those that were there at the start.

        Raises:
          DataError: one was replaced or removed.
        """
        if time.monotonic() < self._next_look or not self._looking.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + _LOOK
            complete = self.copies.complete if self.copies else set[int]()
            if len(complete) == len(self.manifest["shards"]):
                return
            now = self._fetcher.listing()
            for index, shard in enumerate(self.manifest["shards"]):
                if index not in complete and now.get(shard["file"]) != self._stored[shard["file"]]:
                    what = "replaced" if shard["file"] in now else "removed"
                    raise DataError(
                        f"{self.directory / shard['file']}: was {what} while it was read; start again, with a set "
                        "that does not change"
                    )
        finally:
            self._looking.release()


def open_set(place: paths.Place, name: str = "", **options: Any) -> "shards.ShardSource | BucketSet":
    """Opens a prepared set, on this machine or in a bucket.

    Args:
      place: the directory.
      name: for messages and logs.
      **options: of `BucketSet`, for a bucket.

    Raises:
      DataError: there is no such set, or it is damaged.
    """
    return shards.ShardSource(place, name) if isinstance(place, Path) else BucketSet(place, name, **options)
