"""What every command shares: errors that the user can correct give one line on stderr and an exit status.

Importing this module imports neither jax nor numpy, so that `--help` is fast.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hcflow_jax import stopping, streams
from hcflow_jax.errors import HcflowError

FAILED, USAGE_ERROR = 1, 2


class UsageError(HcflowError):
    """Something on the command line that the user has to put right."""


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


def fail(error: BaseException | str, status: int = USAGE_ERROR) -> int:
    """Says in one line on stderr what went wrong; returns the status."""
    streams.say(f"error: {' '.join(str(error).split())}", sys.stderr)
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
      The exit status of the process: that of the function; 2, after one line on stderr, for this package's own errors
      and for files that cannot be read or written; that of `stopping.run` where a signal stopped it, or where the
      reader of its output is gone. Any other exception is a fault of this package and is raised with its traceback.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)

    def checked() -> int:
        try:
            return function(arguments)
        except (HcflowError, OSError) as error:
            if stopping.came() or isinstance(error, BrokenPipeError):
                raise
            return fail(error)

    return stopping.run(checked, stopped, owns=argv is None)
