"""A file with the names of a set's pictures, split into shards. It fixes the work of a preparation in advance.

A shard has a fixed range of the names. So a picture that cannot be read makes its shard smaller and changes no other
shard. The files do not depend on the number of processes or on interruptions.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SHARD_BYTES, _SHARD_IMAGES = 64 << 20, 1000
_MOST_SHARDS = 512  # a reader keeps every shard's file open, and 1024 is a common limit of those


@dataclass(frozen=True)
class Listing:
    """A file of names, one JSON string on each line, and the places where the shards begin."""

    file: Path
    count: int  # names
    shard_images: int  # names a shard; the last may have fewer
    starts: list[int]  # bytes before each shard's first line
    digest: str  # of the names in their order

    def shard(self, index: int) -> tuple[int, int]:
        """What `read_names` needs for a shard: start and count."""
        return self.starts[index], min(self.shard_images, self.count - index * self.shard_images)


def shard_images(resolution: int) -> int:
    """Images of R x R pixels in a shard of a small set: about 64 MB of pixels, at most 1000 and at least one."""
    return max(1, min(_SHARD_IMAGES, _SHARD_BYTES // (3 * resolution**2)))


def write_names(file: Path, names: Iterable[str], images: int) -> Listing:
    """Writes the names and cuts them into shards; memory does not grow with their number.

    Args:
      file: the file of names.
      names: in their order, taken one at a time.
      images: names a shard. It is doubled until there are at most 512 shards.
    """
    digest, starts, count, place = hashlib.sha256(), [], 0, 0
    with open(file, "wb") as lines:
        for name in names:
            if count % images == 0:
                if len(starts) == _MOST_SHARDS:
                    starts, images = starts[::2], 2 * images
                starts.append(place)
            line = json.dumps(name).encode() + b"\n"
            lines.write(line)
            digest.update(line)
            count, place = count + 1, place + len(line)
    return Listing(file, count, images, starts, digest.hexdigest())


def read_names(file: Path, start: int, count: int) -> Iterator[str]:
    """`count` names from a place in the file on."""
    with open(file, "rb") as lines:
        lines.seek(start)
        for _ in range(count):
            yield json.loads(lines.readline())
