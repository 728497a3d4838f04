"""Source: a zip file of pictures, read without unpacking it."""

import os
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.data.encoded import Pictures
from hcflow_jax.data.folder import SUFFIXES
from hcflow_jax.data.source import DataError, Source, Split, held_out

_MAX_BYTES = 1 << 30  # of one picture unpacked: what claims to be larger is no picture that could be decoded


class Zip:
    """The PNG, JPEG and WebP pictures in a zip file, named and ordered as in the folder it unpacks to.

    Left out is what has a name, or lies in a folder, that begins with a dot, and macOS's `__MACOSX` folder.
    The file's table of contents is kept in memory, which zipfile needs: about half a kilobyte a member.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file; another process opens its own: pickled, a set is its path.

        Raises:
          DataError: if it is missing, or no whole zip file.
        """
        self.path, self.name = path, f"zip {path}"
        try:
            self._archive = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; data.path names the zip file of pictures") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); data.path names the zip file") from error
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise DataError(f"{path}: not a whole zip file ({error}); fetch or make it again") from error
        # One handle for all threads: another for each would hold the table of contents again, and decode no faster.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["Zip"], tuple[Path]]:
        return Zip, (self.path,)

    def names(self) -> Iterator[str]:
        """See `Encoded`."""
        # Folder by folder, as a walk of the unpacked folder meets them; of two members of one name the last counts.
        names = sorted({name for name in self._archive.namelist() if _is_picture(name)}, key=lambda n: n.split("/"))
        if not names:
            raise DataError(f"{self.path}: holds no picture ({', '.join(SUFFIXES)})")
        yield from names

    def read(self, name: str) -> bytes:
        """See `Encoded`."""
        try:
            member = self._archive.getinfo(name)
            if member.flag_bits & 1:
                raise DataError(f"{self.label(name)}: encrypted; make the zip file again without a password")
            if member.file_size > _MAX_BYTES:
                raise DataError(f"{self.label(name)}: too large ({member.file_size} bytes unpacked); remove it")
            with self._lock:
                return self._archive.read(member)
        except KeyError:
            raise DataError(f"{self.label(name)}: no such member") from None
        except NotImplementedError as error:
            raise DataError(f"{self.label(name)}: cannot be unpacked ({error}); make the zip file again") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{self.label(name)}: damaged ({error}); fetch or make the zip file again") from error

    def label(self, name: str) -> str:
        """See `Encoded`."""
        return f"{self.path}: {name}"

    def describe(self) -> dict[str, Any]:
        """See `Encoded`."""
        return {"kind": "zip", "path": os.path.abspath(self.path)}


def _is_picture(name: str) -> bool:
    parts = name.split("/")
    return (
        parts[-1].lower().endswith(SUFFIXES)
        and "__MACOSX" not in parts
        and not any(part.startswith(".") for part in parts)
    )


def open_zip(data: ConfigDict, split: Split) -> Source:
    """`data.path` as a source, and what is held out of it (`held_out`)."""
    if not data.path:
        raise ConfigError("data.path is empty: data.source = 'zip' needs the zip file of pictures")
    return held_out(lambda path: Pictures(Zip(path), data.resolution), data, split)
