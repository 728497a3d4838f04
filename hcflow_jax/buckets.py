"""Paths in buckets of object stores, gs://BUCKET/NAME and s3://BUCKET/NAME, through etils' `epath` and fsspec.

An object is written completely or not at all, and has no folders: a folder is the common beginning of names.
"""

import base64
import dataclasses
import importlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etils import epath

from hcflow_jax.errors import InputError, MissingExtraError

Place = Path | epath.Path  # a local path, or a path in a bucket

EXTRAS = {"gs": "gcs", "s3": "s3"}  # scheme -> the extra that installs its library
SCHEME = re.compile(r"(gs|s3)://")
_PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}
_NAME = re.compile(r"(?:gs|s3)://([^/]+)(?:/(.*))?")
_HELP = {
    "gs": "`gcloud auth application-default login` or GOOGLE_APPLICATION_CREDENTIALS gives them",
    "s3": "`aws configure` or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY give them",
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """What an object store knows about an object.

    Attributes:
      size: bytes.
      crc32c: the CRC-32C of the content, in base64; None if the store has none.
      md5: the MD5 of the content, in hexadecimal digits; None if the store has none.
    """

    size: int
    crc32c: str | None = None
    md5: str | None = None


def is_remote(place: Any) -> bool:
    """Whether a path is in a bucket. It takes texts and paths."""
    return SCHEME.match(str(place)) is not None


def scheme_of(place: Any) -> str:
    """The scheme of a path in a bucket: "gs" or "s3"."""
    return str(place).partition("://")[0]


def parse(text: str, what: str = "") -> epath.Path:
    """Reads a path in a bucket. It does not connect to the store.

    Args:
      text: gs://BUCKET/NAME or s3://BUCKET/NAME.
      what: the option, field or argument, for the message.

    Raises:
      InputError: there is no name of a bucket, or the name has a character that a listing treats as a pattern.
      MissingExtraError: the library for this store is not installed.
    """
    named = f"{what} {text}".strip()
    match = _NAME.fullmatch(text)
    if match is None or len(match[1]) < 3:
        raise InputError(
            f"{named}: write {scheme_of(text)}://BUCKET/NAME, with the bucket's name (3 or more letters)"
        )
    if re.search(r"[*?\[\]\x00-\x1f\x7f#]", text):
        raise InputError(f"{named}: names with *, ?, [, ] or # do not work in buckets; use another name")
    _require(scheme_of(text), named)
    return epath.Path(re.sub(r"(?<!:)/+", "/", text).rstrip("/"))


def _require(scheme: str, named: str) -> None:
    try:
        importlib.import_module(_PACKAGES[scheme])
    except ImportError:
        install = f"pip install 'hcflow_jax[{EXTRAS[scheme]}]'"
        raise MissingExtraError(f"{named}: buckets need the package {_PACKAGES[scheme]}: {install}") from None
    from fsspec.config import conf

    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints a stack for errors that it also raises
    # A listing that is kept does not have what other processes and TensorStore have written since.
    for name in ("gcs", "gs", "s3"):
        conf.setdefault(name, {})["use_listings_cache"] = False


def files_of(place: epath.Path) -> Any:
    """The fsspec file system of a path."""
    import fsspec

    scheme = scheme_of(place)
    # The same options as in epath, so that both share one connection.
    return fsspec.filesystem("gcs", finalize_on_close=True) if scheme == "gs" else fsspec.filesystem(scheme)


def listing(folder: epath.Path) -> dict[str, Entry]:
    """All objects below a folder, at any depth: {name after the folder: what the store knows}.

    Raises:
      InputError: the store does not answer, or refuses.
    """
    with named_errors(folder):
        found = files_of(folder).find(str(folder), detail=True)
    start = len(str(folder).partition("://")[2]) + 1
    return {name[start:]: _entry(about) for name, about in found.items() if len(name) > start}


def _entry(about: dict[str, Any]) -> Entry:
    md5 = about.get("md5Hash")
    if md5:
        return Entry(about["size"], about.get("crc32c"), base64.b64decode(md5).hex())
    etag = str(about.get("ETag", "")).strip('"')
    return Entry(about["size"], about.get("crc32c"), etag if re.fullmatch("[0-9a-f]{32}", etag) else None)


def download(source: epath.Path, target: Path) -> None:
    """Copies an object to a file, completely or not at all.

    Raises:
      InputError: the object does not exist, or the store refuses or does not answer.
      OSError: the file cannot be written.
    """
    from hcflow_jax.files import replacing

    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial, named_errors(source):
        files_of(source).get_file(str(source), str(partial))


def upload(source: Path, target: epath.Path) -> None:
    """Copies a file to an object, completely or not at all.

    Raises:
      InputError: the store refuses or does not answer.
    """
    with named_errors(target):
        files_of(target).put_file(str(source), str(target))


@contextmanager
def named_errors(place: Any) -> Iterator[None]:
    """Turns the errors of a store into one `InputError` that names the path and says what to do."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the libraries raise dozens of kinds
        raise InputError(f"{place}: {reason(error, scheme_of(place))}") from error


def reason(error: BaseException, scheme: str = "gs") -> str:
    """One line for an error of a store's library: what happened, and what to do."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    status = getattr(error, "code", None)
    if isinstance(error, FileNotFoundError):
        return "does not exist; check the name of the bucket and the rest of the path"
    if status in (401, "401") or "Credentials" in kind or "credentials" in text:
        return f"no valid credentials for this store; {_HELP[scheme]}"
    if isinstance(error, PermissionError) or status in (403, "403") or re.search("Forbidden|AccessDenied|403", text):
        return "permission denied; let this account read and write objects of this bucket"
    if _is_outage(error):
        return f"the store does not answer ({text[:120] or kind}); try again later"
    return f"{kind}: {text[:200]}" if text else kind


def _is_outage(error: BaseException) -> bool:
    status = str(getattr(error, "code", ""))
    text = f"{type(error).__name__} {error}"
    return (
        status[:1] == "5"
        or re.search(r"\b50[0-4]\b|Timeout|Connect|Proxy|Unavailable|Disconnected", text) is not None
    )
