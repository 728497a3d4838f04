"""Paths that people write: `~` is put in, and what names nothing on this machine's file systems is refused by name.

Every path that a command, a config or a function takes goes through `local`; nothing else expands `~`. This imports
no other module of the package but its errors.
"""

import atexit
import functools
import os
import re
import shutil
import tempfile
from pathlib import Path

from hcflow_jax.errors import InputError

Given = str | bytes | os.PathLike[str]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//?)")
# Orbax takes the path above its files as a pattern, and TensorStore wants UTF-8 in JSON and reads \ as /.
_UNSAFE = re.compile(r"[*?\[\]\\\"\x00-\x1f\x7f\ud800-\udfff]")


def local(given: Given, what: str = "") -> Path:
    """The path that somebody wrote, `~` and `~user` replaced by that home; `~` of nobody is part of a name.

    Args:
      given: the path, as it was written. A `Path` has lost what it was written as: `gs://a` is `gs:/a` in it.
      what: the option, field or argument, for the message.

    Raises:
      InputError: it is no path at all, is empty, has a NUL character, has a scheme (gs://, s3://, file://, ...),
        needs a home where there is none, or has characters that this locale's file names cannot have.
    """
    try:
        text = os.fsdecode(given)
    except TypeError:
        raise InputError(f"{what or 'a path'} is {given!r}: expected a text or a Path") from None
    named = f"{what} {text}".strip()
    if not text:
        raise InputError(f"{what or 'a path'} is empty: name a file or folder")
    if "\0" in text:
        raise InputError(f"{named!r}: has a NUL character, which no file's name can have")
    scheme = _SCHEME.match(text)
    if scheme and (scheme[2] == "//" or not os.path.isdir(f"{scheme[1]}:")):
        raise InputError(
            f"{named}: {scheme[1]}:// is not on this machine's file systems; mount the bucket or copy its files, "
            "and name that folder"
        )
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise InputError(f"{named!a}: file names cannot have these characters here; set LC_ALL=C.UTF-8") from None
    expanded = os.path.expanduser(text)
    if expanded == "~" or expanded.startswith("~/"):
        raise InputError(f"{named}: ~ means the home directory, which is unknown; write the full path, or set HOME")
    return Path(expanded)


def file_name(text: str, most: int = 255) -> str:
    """A text as the name of a file of at most `most` bytes; characters that no name can have here as their codes."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        text = text.encode("ascii", "backslashreplace").decode()
    text = text[:most]
    while len(os.fsencode(text)) > most:
        text = text[:-1]
    return text


def plain(directory: Path) -> Path:
    """A directory under a name that every library takes: its own, or a link to it among the temporary files.

    Orbax, TensorStore and TensorFlow Datasets do not find, or lose, what lies below a name with `[`, `*`, `?`, `\\`,
    `"` or a line break, or one that is not UTF-8. The link is there until the process ends.

    Args:
      directory: one that is there.
    """
    directory = directory.absolute()
    return _linked(directory) if _UNSAFE.search(str(directory)) else directory


def own_names(text: str) -> str:
    """A message of a library, with directories' own names in place of what `plain` called them."""
    for link, directory in _links.items():
        text = text.replace(link, directory)
    return text


_links: dict[str, str] = {}  # link: directory


@functools.cache
def _linked(directory: Path) -> Path:
    folder = tempfile.mkdtemp(prefix="hcflow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = Path(folder, "directory")
    link.symlink_to(directory, target_is_directory=True)
    _links[str(link)] = str(directory)
    return link
