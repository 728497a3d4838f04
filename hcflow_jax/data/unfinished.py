"""Directories for unfinished sets, beside the set: .NAME.DIGEST.partial.

Each has a marker that says which set it belongs to. A directory is removed only with this marker and the lock of the
set, because the name alone could belong to another set. Names are never patterns: `mine` and `mine.train` are two
sets.
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
    """The directory for the unfinished set of `out`.

    Args:
      out: the set's directory.
      digest: the digest of what is to be made, at least 12 hexadecimal digits.
    """
    return hidden(out, f"{digest[:_DIGITS]}{PARTIAL}")


def make(out: Path, digest: str | None = None) -> Path:
    """Makes such a directory, or uses an existing one.

    Args:
      out: the set's directory.
      digest: see `path`; None: a new one.

    Raises:
      OSError: it cannot be made; FileExistsError: something else is there under its name.
    """
    directory = path(out, digest or uuid.uuid4().hex)
    directory.mkdir(exist_ok=True)
    mark(directory, out)
    return directory


def mark(directory: Path, out: Path) -> None:
    """Marks a directory as belonging to `out`.

    Raises:
      OSError: the marker cannot be written.
    """
    if not is_of(directory, out):
        with replacing(directory / MARKER) as partial:
            partial.write_text(json.dumps({"format": _FORMAT, "set": out.name}) + "\n")


def is_of(directory: Path, out: Path) -> bool:
    """Whether the marker of a directory says that it belongs to `out`."""
    try:
        marker = json.loads((directory / MARKER).read_bytes())
        return not directory.is_symlink() and marker == {"format": _FORMAT, "set": out.name}
    except (OSError, ValueError):
        return False


def all_of(out: Path) -> Iterator[Path]:
    """The directories beside `out` with the name and the marker of its unfinished sets."""
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
    """Removes one of `all_of`, the marker last. The caller must hold the lock of the set.

    Raises:
      OSError: something of it cannot be removed.
    """
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name == MARKER):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    directory.rmdir()
