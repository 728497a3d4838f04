"""Handles standard streams that are closed, or whose reader is gone: no traceback, and no output in a wrong file."""

import os
import sys
from contextlib import suppress
from typing import TextIO


def open_missing() -> None:
    """Opens the null device for each standard stream that is closed.

    Otherwise the next file that is opened gets the stream's number, and libraries print into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # it gets the lowest free number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (as long as the process lives)


def silence(stream: TextIO) -> None:
    """Redirects a stream whose reader is gone to the null device, with its buffered text."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def say(line: str, stream: TextIO | None) -> None:
    """Prints one line and flushes it. A stream that is None or cannot be written is no error: the work must go on."""
    if stream is None:
        return
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        silence(stream)
    except OSError:  # a full disk, a terminal that is gone
        pass


def flush() -> OSError | None:
    """Flushes standard output and standard error.

    Returns:
      The first error, or None. A stream that raised one is redirected to the null device, so that the interpreter
      does not report it again at its end.
    """
    hindered = None
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError as error:
            hindered = hindered or error
            silence(stream)
    return hindered
