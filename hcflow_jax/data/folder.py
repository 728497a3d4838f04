"""Source: any folder of pictures."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.config import ConfigError
from hcflow_jax.data import reading
from hcflow_jax.data.encoded import Pictures
from hcflow_jax.data.left_out import LeftOut
from hcflow_jax.data.source import DataError, Source, Split, held_out

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp")


class Folder:
    """The PNG, JPEG and WebP pictures below a folder, named and ordered by their relative paths.

    Names that begin with a dot are left out. Links are followed. A link to a folder above it is an error. A pipe, a
    socket, a device or a link to itself with a picture's name is an error when it is read. It is never opened.
    """

    def __init__(self, path: Path) -> None:
        """Stores the folder; `names` lists it.

        Raises:
          DataError: if it is missing.
        """
        self.path, self.name, self.left_out = path, f"folder {path}", LeftOut()
        if not path.is_dir():
            raise DataError(f"{path}: no such folder; data.path names the folder of images")

    def names(self) -> Iterator[str]:
        """See `Encoded`. The entries are sorted folder by folder, so one folder is in memory at a time."""
        found, self.left_out = False, LeftOut()
        for name in _walk(self.path, "", (), self.left_out):
            found = True
            yield name
        if not found:
            others = f"; left out: {self.left_out}" if str(self.left_out) else ""
            raise DataError(
                f"{self.path}: contains no picture ({', '.join(SUFFIXES)}), also not in its subfolders{others}"
            )

    def read(self, name: str) -> bytes:
        """See `Encoded`."""
        with reading.naming(self.label(name), "cannot be read", "repair or remove it"):
            return reading.read_file(self.path / name)

    def label(self, name: str) -> str:
        """See `Encoded`."""
        return str(self.path / name)

    def describe(self) -> dict[str, Any]:
        """See `Encoded`."""
        return {"kind": "folder", "path": str(self.path.absolute())}


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        # A circular link with the name of a picture is reported when it is read. Without one, it is an ordinary file.
        if error.errno == errno.ELOOP or entry.name.lower().endswith(SUFFIXES):
            return False
        raise DataError(f"{entry.path}: cannot be listed ({error.strerror})") from error


def _walk(directory: Path, prefix: str, above: tuple[tuple[int, int], ...], left_out: LeftOut) -> Iterator[str]:
    try:
        status = os.stat(directory)
        here = (status.st_dev, status.st_ino)
        if here in above:
            raise DataError(
                f"{directory}: a link to a folder above it, so the search for pictures would never end; remove it"
            )
        with os.scandir(directory) as listing:
            entries = sorted((entry.name, _is_folder(entry)) for entry in listing if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{directory}: cannot be listed ({error.strerror})") from error
    for name, is_directory in entries:
        if is_directory:
            yield from _walk(directory / name, f"{prefix}{name}/", (*above, here), left_out)
        elif name.lower().endswith(SUFFIXES):
            yield prefix + name
        else:
            left_out.add(name)


def open_folder(data: ConfigDict, split: Split) -> Source:
    """`data.path` as a source, and what is held out of it (`held_out`).

    Raises:
      ConfigError: naming the field, for parts that cannot be: one of two folders may not lie in the other.
    """
    if not data.path:
        raise ConfigError("data.path is empty: data.source = 'folder' needs a folder of images")
    if data.eval_path:
        path, other = (
            Path(os.path.realpath(paths.local(data[name], f"data.{name}"))) for name in ("path", "eval_path")
        )
        if path in other.parents or other in path.parents:
            raise ConfigError(f"data.eval_path is {data.eval_path!r}: it and data.path must not contain each other")
    return held_out(lambda path: Pictures(Folder(path), data.resolution), data, split)
