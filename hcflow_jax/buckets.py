"""Objects in buckets of object stores (gs://, s3://), through fsspec: listing, reading, writing, and their errors.

An object is written completely or not at all. There are no folders: a folder is the common beginning of names.
"""

import base64
import dataclasses
import io
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from etils import epath

from hcflow_jax import files
from hcflow_jax.errors import HcflowError, InputError
from hcflow_jax.paths import Place, is_remote, scheme_of

_CREDENTIALS = {
    "gs": "`gcloud auth application-default login` or GOOGLE_APPLICATION_CREDENTIALS gives them",
    "s3": "`aws configure`, or AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, gives them",
}

# The libraries whose errors are those of a store.
_LIBRARIES = {
    "aiobotocore",
    "aiohttp",
    "asyncio",
    "botocore",
    "fsspec",
    "gcsfs",
    "google",
    "requests",
    "s3fs",
    "urllib3",
}

logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints a stack for each error that it also raises


class StoreError(InputError, OSError):
    """An object store refuses or does not answer. The message names the path and says what to do."""


class OutageError(StoreError):
    """An object store does not answer now. The same request may succeed later."""


class MissingObjectError(StoreError, FileNotFoundError):
    """There is no such bucket or object."""


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


def files_of(remote: epath.Path) -> Any:
    """The fsspec file system of a path."""
    import fsspec

    # The options are those of epath, so that both share one connection.
    return fsspec.filesystem("gcs", finalize_on_close=True) if scheme_of(remote) == "gs" else fsspec.filesystem("s3")


def listing(folder: epath.Path) -> dict[str, Entry]:
    """All objects below a folder, at any depth: {name after the folder: what the store knows}.

    Raises:
      StoreError: the store refuses or does not answer.
    """
    with named_errors(folder):
        found = files_of(folder).find(str(folder), detail=True)
    start = len(str(folder).partition("://")[2]) + 1
    return {name[start:]: _entry(about) for name, about in found.items() if len(name) > start}


def _entry(about: dict[str, Any]) -> Entry:
    md5 = about.get("md5Hash")
    if md5:
        return Entry(about["size"], about.get("crc32c"), base64.b64decode(md5).hex())
    tag = str(about.get("ETag", "")).strip('"')
    return Entry(about["size"], about.get("crc32c"), tag if re.fullmatch("[0-9a-f]{32}", tag) else None)


def is_folder(where: Place) -> bool:
    """Whether there is a folder, or in a bucket an object below this path.

    Raises:
      StoreError: the store refuses or does not answer.
    """
    if isinstance(where, Path):
        return where.is_dir()
    try:
        with named_errors(where):
            found = files_of(where).ls(str(where), detail=False)
    except MissingObjectError:
        return False
    return any(name.strip("/") != str(where).partition("://")[2] for name in found)  # an object lists itself


def read(remote: epath.Path) -> bytes:
    """The content of an object.

    Raises:
      StoreError: there is no such object, or the store refuses or does not answer.
    """
    with named_errors(remote):
        return files_of(remote).cat_file(str(remote))


def write(where: Place, save: Callable[[BinaryIO], object]) -> None:
    """Writes a file or an object, completely or not at all.

    Args:
      where: its path.
      save: a function that writes the content to an open file.

    Raises:
      StoreError: the store refuses or does not answer.
      OSError: the file cannot be written.
    """
    if isinstance(where, Path):
        files.write(where, save)
        return
    content = io.BytesIO()
    save(content)
    with named_errors(where):
        files_of(where).pipe_file(str(where), content.getvalue())


def download(source: epath.Path, target: Path) -> None:
    """Copies an object to a file, completely or not at all. Makes missing folders above it.

    Raises:
      StoreError: there is no such object, or the store refuses or does not answer.
      OSError: the file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(target) as partial, named_errors(source):
        files_of(source).get_file(str(source), str(partial))


def upload(source: Path, target: epath.Path) -> None:
    """Copies a file to an object, completely or not at all.

    Raises:
      StoreError: the store refuses or does not answer.
      OSError: the file cannot be read.
    """
    write(target, lambda file: file.write(source.read_bytes()))


def move(folder: Place, target: Place) -> None:
    """Moves a folder. In a bucket it moves its objects, not all at the same moment.

    Raises:
      StoreError: the store refuses or does not answer.
    """
    if isinstance(folder, Path):
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)
        return
    with named_errors(folder):
        files_of(folder).mv(f"{folder}/", f"{target}/", recursive=True)


@contextmanager
def named_errors(remote: object) -> Iterator[None]:
    """Turns the errors of a store's library into one `StoreError` that names the path and says what to do.

    Args:
      remote: the path. If it is not in a bucket, nothing is changed.

    Raises:
      MissingObjectError: there is no such bucket or object.
      OutageError: the store does not answer.
      StoreError: another error of the store.
    """
    try:
        yield
    except HcflowError:
        raise
    except FileNotFoundError as error:
        if not is_remote(remote):
            raise
        raise MissingObjectError(f"{remote}: does not exist; check the bucket's name and the rest") from error
    except Exception as error:
        library = type(error).__module__.partition(".")[0] in _LIBRARIES or isinstance(error, OSError | ValueError)
        if not is_remote(remote) or not library:
            raise
        kind = OutageError if is_outage(error) else StoreError
        raise kind(f"{remote}: {reason(error, scheme_of(remote))}") from error


def reason(error: BaseException, scheme: str = "gs") -> str:
    """One line about an error of a store's library: what is wrong, and what to do.

    Args:
      error: the error.
      scheme: "gs" or "s3".
    """
    text, kind = " ".join(str(error).split()), type(error).__name__
    code = str(getattr(error, "code", ""))
    if code == "401" or "Credentials" in kind or "credentials" in text:
        return f"there are no valid credentials for this store; {_CREDENTIALS.get(scheme, '')}"
    if (
        code == "403"
        or isinstance(error, PermissionError)
        or re.search("Forbidden|AccessDenied|PERMISSION_DENIED", text)
    ):
        return "permission denied; allow this account to read, write and list the objects of the bucket"
    if code == "404" or "NotFound" in kind:
        return "does not exist; check the bucket's name and the rest"
    if is_outage(error):
        return f"the store does not answer ({text[:120] or kind}); try again later"
    return f"{kind}: {text[:200]}" if text else kind


def is_outage(error: BaseException) -> bool:
    """Whether an error of a store's library says that the store does not answer now."""
    if isinstance(error, OutageError | TimeoutError | ConnectionError):
        return True
    text = f"{type(error).__name__} {error}"
    words = r"\b(408|429|50[0-4])\b|Timeout|Connect|Proxy|Unavailable|UNAVAILABLE|Disconnected|DEADLINE"
    return str(getattr(error, "code", ""))[:1] == "5" or re.search(words, text) is not None
