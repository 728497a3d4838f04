"""Source: a zip file of pictures, read without unpacking it."""

import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import files
from hcflow_jax.config import ConfigError
from hcflow_jax.data import reading
from hcflow_jax.data.encoded import Pictures
from hcflow_jax.data.folder import SUFFIXES
from hcflow_jax.data.left_out import LeftOut
from hcflow_jax.data.source import DataError, Source, Split, held_out

_MAX_BYTES = reading.MOST_BYTES  # of one picture unpacked


class Zip:
    """The PNG, JPEG and WebP pictures in a zip file, with the names and the order of the unpacked folder.

    Files and folders whose names begin with a dot are left out, and macOS's folder `__MACOSX`.
    The file's table of contents is kept in memory, which zipfile needs: about half a kilobyte a member.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file; another process opens its own: pickled, a set is its path.

        Raises:
          DataError: if it is missing, or no whole zip file.
        """
        self.path, self.name, self.left_out = path, f"zip {path}", LeftOut()
        try:
            files.refuse_special(os.stat(path))
            self._archive = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; data.path names the zip file of pictures") from None
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({reading.reason(error)}); data.path names the zip file"
            ) from error
        except Exception as error:  # zipfile checks little of what it reads
            with reading.naming(str(path), "not a whole zip file", "fetch or make it again"):
                raise error
        # All threads share one handle. More handles would need more memory and would not decode faster.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["Zip"], tuple[Path]]:
        return Zip, (self.path,)

    def names(self) -> Iterator[str]:
        """See `Encoded`."""
        self.left_out, names = LeftOut(), []
        for name in {name for name in self._archive.namelist() if _is_visible(name)}:
            if name.lower().endswith(SUFFIXES):
                names.append(name)
            else:
                self.left_out.add(name.rpartition("/")[2])
        if not names:
            others = f"; left out: {self.left_out}" if str(self.left_out) else ""
            raise DataError(f"{self.path}: contains no picture ({', '.join(SUFFIXES)}){others}")
        # Folder by folder, as a walk of the unpacked folder meets them; of two members of one name the last counts.
        yield from sorted(names, key=lambda name: name.split("/"))

    def read(self, name: str) -> bytes:
        """See `Encoded`."""
        label = self.label(name)
        try:
            member = self._archive.getinfo(name)
        except KeyError:
            raise DataError(f"{label}: no such member") from None
        if member.flag_bits & 1:
            raise DataError(f"{label}: encrypted; make the zip file again without a password")
        if member.file_size > _MAX_BYTES:
            raise DataError(f"{label}: too large ({member.file_size} bytes unpacked); remove it")
        # Each way of compressing has exceptions of its own for damaged data.
        with reading.naming(label, "damaged", "fetch or make the zip file again"), self._lock:
            try:
                return self._archive.read(member)
            except NotImplementedError as error:
                raise DataError(f"{label}: cannot be unpacked ({error}); make the zip file again") from error

    def label(self, name: str) -> str:
        """See `Encoded`."""
        return f"{self.path}: {name}"

    def describe(self) -> dict[str, Any]:
        """See `Encoded`."""
        return {"kind": "zip", "path": os.path.abspath(self.path)}


def _is_visible(name: str) -> bool:
    """Whether it is a file's name, and neither hidden nor in a hidden folder."""
    parts = name.split("/")
    return bool(parts[-1]) and "__MACOSX" not in parts and not any(part.startswith(".") for part in parts)


def open_zip(data: ConfigDict, split: Split) -> Source:
    """`data.path` as a source, and what is held out of it (`held_out`)."""
    if not data.path:
        raise ConfigError("data.path is empty: data.source = 'zip' needs the zip file of pictures")
    return held_out(lambda path: Pictures(Zip(path), data.resolution), data, split)
