"""Directories that hold what is not finished, beside the set that it is of: .NAME.DIGEST.partial.

Each has a marker that says of which set it is. Nothing is removed without that marker and the set's lock: its name
alone could be another's. Names are compared, never used as patterns: `mine` and `mine.train` are two sets.
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from hcflow_jax.files import PARTIAL, hidden, replacing

MARKER = "unfinished.json"
_FORMAT, _DIGITS = "hcflow_jax unfinished", 12


def path(out: Path, digest: str) -> Path:
    """Where what is to become `out` lies until it is whole.

    Args:
      out: the set's directory.
      digest: the digest of what is to be made, at least 12 hexadecimal digits.
    """
    return hidden(out, f"{digest[:_DIGITS]}{PARTIAL}")


def make(out: Path, digest: str | None = None) -> Path:
    """Makes such a directory, or takes up one that is there already.

    Args:
      out: the set's directory.
      digest: see `path`; None: one that nobody has.

    Raises:
      OSError: it cannot be made; FileExistsError: something else is there under its name.
    """
    directory = path(out, digest or uuid.uuid4().hex)
    directory.mkdir(exist_ok=True)
    mark(directory, out)
    return directory


def mark(directory: Path, out: Path) -> None:
    """Writes down that a directory is of `out`.

    Raises:
      OSError: the marker cannot be written.
    """
    if not is_of(directory, out):
        with replacing(directory / MARKER) as partial:
            partial.write_text(json.dumps({"format": _FORMAT, "set": out.name}) + "\n")


def is_of(directory: Path, out: Path) -> bool:
    """Whether a directory says that it holds what is unfinished of `out`."""
    try:
        marker = json.loads((directory / MARKER).read_bytes())
        return not directory.is_symlink() and marker == {"format": _FORMAT, "set": out.name}
    except (OSError, ValueError):
        return False


def all_of(out: Path) -> Iterator[Path]:
    """The directories beside `out` that have the name and the marker of what is unfinished of it."""
    ending = f"{'0' * _DIGITS}{PARTIAL}"
    beginning = hidden(out, ending).name.removesuffix(ending)
    with os.scandir(out.parent) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        digest = name.removeprefix(beginning).removesuffix(PARTIAL)
        if name == f"{beginning}{digest}{PARTIAL}" and re.fullmatch("[0-9a-f]{12}", digest):
            directory = out.with_name(name)
            if is_of(directory, out):
                yield directory


def remove(directory: Path) -> None:
    """Removes one of `all_of`; to be called by who holds the set's lock. Its marker goes last.

    Raises:
      OSError: something of it cannot be removed.
    """
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name == MARKER):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    directory.rmdir()
