"""Source: LSUN as published, one LMDB database for each category and split. It is read without TensorFlow.

church_outdoor_train_lmdb/data.mdb        key: 40 hexadecimal digits; value: a WebP or JPEG picture
church_outdoor_val_lmdb/data.mdb          the held-out pictures, for data.eval_path
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.data import reading
from hcflow_jax.data.encoded import Pictures
from hcflow_jax.data.left_out import LeftOut
from hcflow_jax.data.source import DataError, Source, Split, held_out

_FILE = "data.mdb"
# LMDB does not allow a process to open a file twice, so all sets of a file share one open database.
_environments: dict[tuple[int, int, int], lmdb.Environment] = {}
_opening = threading.Lock()


class Lsun:
    """The pictures of a database, in the order of their keys. The keys are the names."""

    def __init__(self, path: Path) -> None:
        """Opens the database, read-only; another process opens its own: pickled, a set is its path.

        Raises:
          DataError: if it is no database, or not a whole one.
        """
        self.path, self.name, self.left_out = path, f"lsun {path}", LeftOut()
        self._environment = _open(path)

    def __reduce__(self) -> tuple[type["Lsun"], tuple[Path]]:
        return Lsun, (self.path,)

    def names(self) -> Iterator[str]:
        """See `Encoded`. Keys alone are read: a small part of the database."""
        try:
            with self._environment.begin() as transaction:
                if not transaction.stat()["entries"]:
                    raise DataError(f"{self.path}: contains no picture")
                for key in transaction.cursor().iternext(keys=True, values=False):
                    yield bytes(key).decode("utf-8", "surrogateescape")
        except lmdb.Error as error:
            raise DataError(f"{self.path / _FILE}: damaged ({error}); unpack it again") from error

    def read(self, name: str) -> bytes:
        """See `Encoded`."""
        named = reading.naming(self.label(name), "cannot be read", "unpack the database again")
        with named, self._environment.begin() as transaction:
            value = transaction.get(name.encode("utf-8", "surrogateescape"))
        if value is None:
            raise DataError(f"{self.label(name)}: no such key")
        return bytes(value)

    def label(self, name: str) -> str:
        """See `Encoded`."""
        return f"{self.path}: key {name}"

    def describe(self) -> dict[str, Any]:
        """See `Encoded`."""
        return {"kind": "lsun", "path": os.path.abspath(self.path)}


def _open(path: Path) -> lmdb.Environment:
    file = path / _FILE
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"{path}: {_missing(path)}") from error
    if not status.st_size:
        raise DataError(f"{file}: is empty; unpack it again")
    with _opening:
        key = (os.getpid(), status.st_dev, status.st_ino)
        environment = _environments.get(key)
        if environment is None:
            try:
                # Nothing writes, so no lock is needed, and the database may be on a read-only disk.
                # Pictures are read in random order, so reading ahead is useless.
                environment = lmdb.open(
                    os.fsencode(path), readonly=True, lock=False, readahead=False, max_spare_txns=16
                )
            except lmdb.Error as error:
                raise DataError(f"{file}: not an LMDB database ({error}); unpack it again") from error
            _environments[key] = environment
    # The database is mapped into memory, where reading past the file's end would kill the process.
    pages = environment.stat()
    used = pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"]
    needed = (2 + used) * pages["psize"]  # two pages describe the database
    if status.st_size < needed:
        raise DataError(
            f"{file}: has {status.st_size} bytes instead of at least {needed}, so it is cut off; unpack it again"
        )
    return environment


def _missing(path: Path) -> str:
    expected = "expected a directory as LSUN publishes it, such as church_outdoor_train_lmdb, with data.mdb inside"
    if path.suffix == ".zip":
        return f"a zip file; unpack it, and name the directory: {expected}"
    found = sorted(child.parent.name for child in path.glob(f"*/{_FILE}"))
    if found:
        return f"holds databases and is none; name one of them: {', '.join(found)}"
    return f"no database; {expected}"


def open_lsun(data: ConfigDict, split: Split) -> Source:
    """`data.path` as a source, and what is held out of it (`held_out`)."""
    if not data.path:
        raise ConfigError("data.path is empty: data.source = 'lsun' needs the directory of LSUN's database")
    return held_out(lambda path: Pictures(Lsun(path), data.resolution), data, split)
