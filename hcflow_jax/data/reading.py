"""Reading one picture: whatever goes wrong names that picture, and only ordinary files are opened."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hcflow_jax import files
from hcflow_jax.data.source import DataError, ShortageError
from hcflow_jax.errors import HcflowError

MOST_BYTES = 1 << 30  # of one encoded picture: more than any that `images.MAX_PIXELS` allows needs

_SHORTAGES = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@contextmanager
def naming(label: str, what: str, advice: str) -> Iterator[None]:
    """Turns any exception of its block into one `DataError`, "LABEL: WHAT (REASON); ADVICE".

    Decoders raise exceptions of nearly every type for damaged files, so no list of types is complete. This package's
    own errors pass as they are. KeyboardInterrupt and SystemExit, which are no `Exception`, pass too.

    Args:
      label: what messages call the picture.
      what: what failed, for example "cannot be read".
      advice: what the user is to do.

    Raises:
      DataError: see above.
      ShortageError: the machine lacks memory or the process open files. That says nothing about the picture.
    """
    try:
        yield
    except HcflowError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SHORTAGES):
            lacking = "memory" if isinstance(error, MemoryError) or error.errno == errno.ENOMEM else "open files"
            raise ShortageError(
                f"{label}: {what} for want of {lacking}; start again with more {lacking} or fewer processes"
            ) from error
        raise DataError(f"{label}: {what} ({reason(error)}); {advice}") from error


def reason(error: Exception) -> str:
    """An exception's message as one line of at most 300 characters, the same in every run."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(r" at 0x[0-9a-f]+", "", str(error) or repr(error))
    return " ".join(text.split())[:300]


def read_file(path: str | Path) -> bytes:
    """The content of an ordinary file, at most `MOST_BYTES`. Anything else is not opened.

    Raises:
      OSError: it cannot be read, is too large, or is a pipe, a socket or a device.
      ValueError: the path cannot be one.
    """
    files.refuse_special(os.stat(path))
    # A pipe could have taken its place by now: this does not wait for a writer.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        status = os.fstat(file.fileno())
        files.refuse_special(status)
        if status.st_size > MOST_BYTES:
            raise OSError(f"{status.st_size} bytes, of {MOST_BYTES} at most")
        return file.read() or b""
