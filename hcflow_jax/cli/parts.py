"""Keeps the partial results of a command until its output file is written, so that a stopped command can continue.

A hidden folder beside the output file contains one raw file for each kind of array. Every batch is appended to these
files. It also contains 32 bytes for each image that identify its source. A repeated command continues after the first
images whose source is unchanged.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcflow_jax import files

_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Column:
    """One kind of array: its shape and dtype for one image, and for how many images it is kept (None: all)."""

    shape: tuple[int, ...]
    dtype: str
    most: int | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes for one image."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def kept(self, count: int) -> int:
        """How many of the first `count` images have this array."""
        return count if self.most is None else min(count, self.most)


class Parts:
    """The partial results; from `opened`.

    Attributes:
      done: the number of finished images. They are the first ones.
      found: how many of them were finished at the start.
    """

    def __init__(self, folder: Path, columns: Mapping[str, Column], digests: Sequence[bytes], done: int):
        """Uses a folder that `opened` has prepared."""
        self._folder, self._columns, self._digests = folder, dict(columns), digests
        self.done = self.found = done

    def append(self, arrays: Mapping[str, Any]) -> None:
        """Stores the arrays of the next images, (b, ...) for each column.

        Raises:
          OSError: they cannot be written.
        """
        count = len(next(iter(arrays.values())))
        for i, (name, column) in enumerate(self._columns.items()):
            rows = np.asarray(arrays[name][: column.kept(self.done + count) - column.kept(self.done)], column.dtype)
            with open(self._folder / f"{i}", "ab") as file:
                file.write(rows.tobytes())
        with open(self._folder / "done", "ab") as file:  # written last, because it counts what is complete
            file.write(b"".join(self._digests[self.done : self.done + count]))
        self.done += count

    def rows(self, name: str, size: int) -> Iterator[np.ndarray]:
        """Yields the arrays of a column, at most `size` images at a time: (b, ...)."""
        column = self._columns[name]
        left = column.kept(self.done)
        with open(self._folder / f"{list(self._columns).index(name)}", "rb") as file:
            while left:
                count = min(size, left)
                yield np.frombuffer(file.read(count * column.row_bytes), column.dtype).reshape(count, *column.shape)
                left -= count


@contextmanager
def opened(
    path: Path, about: str, columns: Mapping[str, Column], items: Iterable[str], batch: int
) -> Iterator[Parts]:
    """Opens the partial results for a file. Removes them when the block ends, unless it raises after some progress.

    Args:
      path: the output file.
      about: what all results depend on, such as the model. Results for another `about` are removed.
      columns: the arrays, by name.
      items: for each image, a text that identifies its source. Results count up to the first text that differs.
      batch: the number of images that are computed at once. Only whole batches count, so that the other images are
        computed in the same batches as without an interruption.

    Raises:
      HeldError: another process writes the same file.
      OSError: the folder cannot be made.
    """
    folder = path.with_name(f".hcflow-{hashlib.sha256(path.name.encode(errors='surrogatepass')).hexdigest()[:16]}")
    digests = [hashlib.sha256(item.encode(errors="surrogatepass")).digest() for item in items]
    shape = {name: (column.shape, column.dtype, column.most) for name, column in columns.items()}
    about = hashlib.sha256(json.dumps([about, batch, shape]).encode()).hexdigest()
    folder.mkdir(exist_ok=True)
    try:
        with files.locked(folder / "lock"):
            parts = Parts(folder, columns, digests, _prepare(folder, about, columns, digests, batch))
            try:
                yield parts
            except BaseException:
                if not parts.done:
                    _remove(folder, len(columns))
                raise
            _remove(folder, len(columns))
    except files.HeldError as error:
        raise files.HeldError(path, error.holder) from error


def _prepare(folder: Path, about: str, columns: Mapping[str, Column], digests: Sequence[bytes], batch: int) -> int:
    """Cuts the files to the images whose results are valid; returns their number."""
    about_file, done_file = folder / "about", folder / "done"
    done = 0
    if about_file.is_file() and about_file.read_text(errors="replace") == about and done_file.is_file():
        done = _same(done_file, digests)
        for i, column in enumerate(columns.values()):
            file = folder / f"{i}"
            have = file.stat().st_size // column.row_bytes if file.is_file() else 0
            done = min(done, done if have >= column.kept(done) else have)
        done = done if done == len(digests) else done // batch * batch
    about_file.write_text(about)
    lengths = {"done": done * _DIGEST}
    lengths |= {f"{i}": column.kept(done) * column.row_bytes for i, column in enumerate(columns.values())}
    for name, length in lengths.items():
        with open(folder / name, "ab") as file:
            file.truncate(length)
    return done


def _remove(folder: Path, columns: int) -> None:
    """Removes our files in the folder, and the folder if it is then empty."""
    with suppress(OSError):
        for name in ("about", "done", "lock", *map(str, range(columns))):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _same(file: Path, digests: Sequence[bytes]) -> int:
    """How many of the first images have an unchanged source."""
    with open(file, "rb") as found:
        for i, digest in enumerate(digests):
            if found.read(_DIGEST) != digest:
                return i
    return len(digests)
