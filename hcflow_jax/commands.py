"""What every command shares: errors that the user can correct give one line on stderr and an exit status.

Importing this module imports neither jax nor numpy, so that `--help` is fast.
"""

import argparse
import codecs
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from hcflow_jax import environment, paths, stopping, streams
from hcflow_jax.errors import HcflowError, InputError

FAILED, USAGE_ERROR = 1, 2


class UsageError(HcflowError):
    """Something on the command line that the user has to put right."""


def as_path(text: str) -> Path:
    """Reads an argument that is a path: argparse's `type` (see `paths.local`)."""
    try:
        return paths.local(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def model_name(text: str) -> str:
    """Reads an argument that is a path or the name of a model: as it was written, since ./portraits is a path."""
    as_path(text)
    return text


class Parser(argparse.ArgumentParser):
    """argparse's parser; it raises its errors, and does not accept abbreviated options."""

    def __init__(self, prog: str, about: str | None, **options: Any) -> None:
        """Args:
        prog: the command's name.
        about: shown by --help, line by line as it is.
        **options: argparse's own.
        """
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=about, formatter_class=raw, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises UsageError."""
        raise UsageError(f"{message} ({self.prog} --help tells what there is)")


def print_any_name() -> None:
    """Lets stdout and stderr print every name: what their encoding lacks as \\u753b, a byte that is no text as \\xe9.

    A stream that gives such bytes back as they are, as in the C locale, goes on doing so.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors not in (_SHOWN, _GIVEN_BACK):
            stream.reconfigure(errors=_GIVEN_BACK if stream.errors == "surrogateescape" else _SHOWN)


_SHOWN, _GIVEN_BACK = "hcflow_jax.shown", "hcflow_jax.given_back"  # how streams treat what they cannot encode


def _show(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if 0xDC80 <= ord(character) <= 0xDCFF:  # how Python has a byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}", error.start + 1
    return character.encode("ascii", "backslashreplace"), error.start + 1


def _give_back(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError) and 0xDC80 <= ord(error.object[error.start]) <= 0xDCFF:
        return bytes([ord(error.object[error.start]) - 0xDC00]), error.start + 1
    return _show(error)


codecs.register_error(_SHOWN, _show)
codecs.register_error(_GIVEN_BACK, _give_back)


def fail(error: BaseException | str, status: int = USAGE_ERROR) -> int:
    """Says in one line on stderr what went wrong; returns the status."""
    streams.say(f"error: {' '.join(line.strip() for line in str(error).splitlines())}", sys.stderr)
    return status


def run_main(
    function: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None, stopped: str = "stopped"
) -> int:
    """Runs a command.

    Args:
      function: takes the arguments, returns the exit status.
      argv: the arguments; None for the process's own, which may then be ended at once (see `stopping`).
      stopped: what is said if a signal stops the command.

    Returns:
      The exit status of the process: that of the function; 2, after one line on stderr, for this package's own
      errors, for files that cannot be read or written, and for what the environment has wrong; that of
      `stopping.run` where a signal stopped it, or where the reader of its output is gone. Any other exception is a
      fault of this package and is raised with its traceback.
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
