"""Paths that users write: `~` is expanded, and paths that cannot be used are refused.

Every path that a command, a config or a function takes goes through `local` or, where buckets are allowed, through
`place`; nothing else expands `~`. From this package, the module imports only the errors.
"""

import atexit
import functools
import importlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from etils import epath

from hcflow_jax.errors import InputError, MissingExtraError

Given = str | bytes | os.PathLike[str]
Place = Path | epath.Path  # a path on this machine, or in a bucket

# What each kind of store needs: the package, and the extra that installs it.
STORES = {"gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3")}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//?)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")  # both stores' rules; Google's longest, with dots
# Orbax uses a path as a pattern for its files. TensorStore writes paths as UTF-8 in JSON, and reads \ as /.
_UNSAFE = re.compile(r"[*?\[\]\\\"\x00-\x1f\x7f\ud800-\udfff]")


def local(given: Given, what: str = "") -> Path:
    """Checks a path that a user wrote, and replaces `~` and `~user` by the home directory.

    If there is no such user, `~user` is a part of the name.

    Args:
      given: the path. Give it as it was written, if possible: a `Path` turns `gs://a` into `gs:/a`.
      what: the option, field or argument, for the message.

    Raises:
      InputError: the path is not a text or a Path, is empty, has a NUL character, has a scheme (gs://, s3://,
        file://, ...), needs a home directory that is unknown, or has characters that file names cannot have in this
        locale.
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


def place(given: Given | epath.Path, what: str = "", stores: tuple[str, ...] = ("gs",)) -> Place:
    """Checks a path that a user wrote: on this machine as `local` does, or in a bucket.

    Args:
      given: the path, gs://BUCKET/NAME or s3://BUCKET/NAME for a bucket.
      what: the option, field or argument, for the message.
      stores: the schemes of buckets that are allowed here.

    Raises:
      InputError: as in `local`; or the scheme is not allowed here.
      MissingExtraError: the library for this store is not installed.
    """
    text = os.fspath(given) if isinstance(given, os.PathLike) else given
    if isinstance(given, str) and (one := re.match("(gs|s3):/(?!/)", given)) and one[1] in stores:
        raise InputError(f"{f'{what} {given}'.strip()}: write {one[1]}:// with two slashes")
    if not stores or not isinstance(text, str) or not is_remote(text):
        return local(given, what)
    named, scheme = f"{what} {text}".strip(), scheme_of(text)
    if scheme not in stores:
        allowed = " or ".join(f"{name}://" for name in stores)
        raise InputError(f"{named}: {scheme}:// does not work here; name a folder, or use {allowed}")
    bucket, *parts = text.partition("://")[2].split("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        rule = "3 or more lower-case letters, digits, -, _ and single dots"
        raise InputError(f"{named}: write {scheme}://BUCKET/NAME; the name of a bucket has {rule}")
    if ".." in parts:
        raise InputError(f"{named}: .. cannot be a part of a path in a bucket")
    if re.search(r"[*?\[\]\x00-\x1f\x7f#]", text):
        raise InputError(f"{named}: names with *, ?, [, ] or # do not work in buckets; use another name")
    _require(scheme, named)
    return epath.Path(re.sub(r"(?<!:)/+", "/", text).rstrip("/"))


def is_remote(given: object) -> bool:
    """Whether a path, or a text that a user wrote, is in a bucket of a known kind of store."""
    return str(given).startswith(tuple(f"{scheme}://" for scheme in STORES))


def scheme_of(remote: object) -> str:
    """The scheme of a path in a bucket: "gs" or "s3"."""
    return str(remote).partition("://")[0]


def absolute(where: Place) -> Place:
    """The absolute path. Paths in buckets are absolute."""
    return where.absolute() if isinstance(where, Path) else where


def _require(scheme: str, named: str) -> None:
    """Imports the library of a store, and makes it list what is there now."""
    package, extra = STORES[scheme]
    try:
        importlib.import_module(package)
    except ImportError:
        install = f"pip install 'hcflow_jax[{extra}]'"
        raise MissingExtraError(f"{named}: such buckets need the package {package}: {install}") from None
    from fsspec.config import conf

    for name in ("gcs", "gs", "s3"):  # a kept listing would miss what other processes and TensorStore write
        conf.setdefault(name, {})["use_listings_cache"] = False


def file_name(text: str, most: int = 255) -> str:
    """A text as a file name of at most `most` bytes.

    If this locale's file names cannot have all its characters, the characters that are not ASCII become codes.
    """
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        text = text.encode("ascii", "backslashreplace").decode()
    text = text[:most]
    while len(os.fsencode(text)) > most:
        text = text[:-1]
    return text


def plain(directory: Path) -> Path:
    """A path of a directory that every library can use: its own path, or that of a temporary link to it.

    Orbax, TensorStore and TensorFlow Datasets do not find, or lose, files below a name with `[`, `*`, `?`, `\\`, `"`
    or a line break, or below a name that is not UTF-8. The link is removed when the process ends.

    Args:
      directory: a directory that exists.
    """
    directory = directory.absolute()
    return _linked(directory) if _UNSAFE.search(str(directory)) else directory


def own_names(text: str) -> str:
    """A message, with the paths that the user named in place of those that stand in for them.

    These are the links that `plain` made, and the folders of `stands_in`.
    """
    for link, directory in _links.items():
        text = text.replace(link, directory)
    return text


def stands_in(folder: Path, where: Place) -> None:
    """Says that messages should name `where` for a folder that holds its files for a while."""
    _links[str(folder)] = str(where)


_links: dict[str, str] = {}  # the path that stands in -> the path that the user named


@functools.cache
def _linked(directory: Path) -> Path:
    folder = tempfile.mkdtemp(prefix="hcflow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = Path(folder, "directory")
    link.symlink_to(directory, target_is_directory=True)
    _links[str(link)] = str(directory)
    return link
