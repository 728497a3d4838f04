"""Standard input, output and error that are closed, or whose reader is gone: no traceback, and no wrong file."""

import os
import sys
from contextlib import suppress
from typing import TextIO


def open_missing() -> None:
    """Opens the null device in place of each standard stream that is closed.

    Otherwise the next file that is opened gets its number, and what a library prints goes into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # takes the lowest number that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (as long as the process lives)


def silence(stream: TextIO) -> None:
    """Sends a stream whose reader is gone to the null device, with what it still holds."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def say(line: str, stream: TextIO | None) -> None:
    """Prints one line at once. A stream that takes none, or is None, is no error: the work is worth more."""
    if stream is None:
        return
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        silence(stream)
    except OSError:  # a full disk, a terminal that is gone
        pass


def flush() -> OSError | None:
    """Hands over what was printed so far.

    Returns:
      What hindered it. The stream is silent from then on, so that the interpreter has nothing to say when it ends.
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
