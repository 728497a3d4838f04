"""Functions for all commands. Errors that the user can correct become one line on stderr and an exit status.

This module imports neither jax nor numpy, so that `--help` is fast.
"""

import argparse
import codecs
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hcflow_jax import environment, paths, stopping, streams
from hcflow_jax.errors import HcflowError, InputError, MissingExtraError

FAILED, USAGE_ERROR = 1, 2


class UsageError(HcflowError):
    """The command line has a mistake that the user can correct."""


def as_path(text: str) -> Path:
    """Reads an argument that is a path (see `paths.local`). It is a `type` for argparse.

    Raises:
      argparse.ArgumentTypeError: the path is not allowed.
    """
    try:
        return paths.local(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def as_place(text: str) -> paths.Place:
    """Reads an argument that is a path on this machine or gs://BUCKET/NAME. It is a `type` for argparse.

    Raises:
      argparse.ArgumentTypeError: the path is not allowed.
    """
    return _placed(text, ("gs",))


def as_any_place(text: str) -> paths.Place:
    """Reads an argument that is a path on this machine, gs://BUCKET/NAME or s3://BUCKET/NAME. See `as_place`.

    Raises:
      argparse.ArgumentTypeError: the path is not allowed.
    """
    return _placed(text, ("gs", "s3"))


def model_name(text: str) -> str:
    """Checks a path or the name of a model. Returns the text itself: as a Path, ./portraits would become a name.

    Raises:
      argparse.ArgumentTypeError: the path is not allowed.
    """
    _placed(text, ("gs", "s3"))
    return text


def _placed(text: str, stores: tuple[str, ...]) -> paths.Place:
    try:
        return paths.place(text, stores=stores)
    except (InputError, MissingExtraError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class Parser(argparse.ArgumentParser):
    """argparse's parser, but it raises its errors and does not accept abbreviated options."""

    def __init__(self, prog: str, about: str | None, **options: Any) -> None:
        """Args:
        prog: the name of the command.
        about: the text of --help, shown unchanged.
        **options: other arguments of argparse's parser.
        """
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=about, formatter_class=raw, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{message} ({self.prog} --help lists the options)")


def print_any_name() -> None:
    """Lets stdout and stderr print every name: missing characters as \\u753b, bytes that are not text as \\xe9.

    A stream that writes such bytes unchanged, as in the C locale, still does so.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors not in (_SHOWN, _GIVEN_BACK):
            stream.reconfigure(errors=_GIVEN_BACK if stream.errors == "surrogateescape" else _SHOWN)


# The names of two error handlers for characters that a stream cannot encode.
_SHOWN, _GIVEN_BACK = "hcflow_jax.shown", "hcflow_jax.given_back"


def _show(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if 0xDC80 <= ord(character) <= 0xDCFF:  # how Python represents a byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}", error.start + 1
    return character.encode("ascii", "backslashreplace"), error.start + 1


def _give_back(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError) and 0xDC80 <= ord(error.object[error.start]) <= 0xDCFF:
        return bytes([ord(error.object[error.start]) - 0xDC00]), error.start + 1
    return _show(error)


codecs.register_error(_SHOWN, _show)
codecs.register_error(_GIVEN_BACK, _give_back)


def fail(error: BaseException | str, status: int = USAGE_ERROR) -> int:
    """Prints an error in one line on stderr. Returns the status."""
    streams.say(f"error: {' '.join(line.strip() for line in str(error).splitlines())}", sys.stderr)
    return status


def run_main(
    function: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None, stopped: str = "stopped"
) -> int:
    """Runs a command.

    Args:
      function: takes the arguments and returns the exit status.
      argv: the arguments; None: those of the process. Then a signal may end the process at once (see `stopping`).
      stopped: the line to print if a signal stops the command.

    Returns:
      The exit status of the process. It is 2, after one line on stderr, for the package's own errors, for files that
      cannot be read or written, and for wrong environment variables. If a signal stopped the command, or the reader
      of its output is gone, it is that of `stopping.run`. Otherwise it is that of the function. Any other exception
      is a fault of this package and is raised with its traceback.
    """
    print_any_name()
    arguments = list(sys.argv[1:] if argv is None else argv)

    def checked() -> int:
        try:
            return function(arguments)
        except (HcflowError, OSError) as error:
            if stopping.came() or isinstance(error, BrokenPipeError):
                raise
            return fail(error)
        except Exception as error:
            if stopping.came() or (said := environment.explain(error)) is None:
                raise
            return fail(said)

    return stopping.run(checked, stopped, owns=argv is None)
