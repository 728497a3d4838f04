"""What every command shares: errors that the user can correct give one line on stderr and an exit status.

Importing this module imports neither jax nor numpy, so that `--help` is fast.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from hcflow_jax import environment
from hcflow_jax.errors import HcflowError

FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130


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
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def run_main(
    function: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None, stopped: str = "stopped"
) -> int:
    """Runs a command.

    Args:
      function: takes the arguments, returns the exit status.
      argv: the arguments; None for the process's own.
      stopped: the message of an interrupted command.

    Returns:
      The exit status of the process: that of the function; 2, after one line on stderr, for this package's own
      errors, for files that cannot be read or written, and for what the environment has wrong; 130 if interrupted.
      Any other exception is a fault of this package and is raised with its traceback.
    """
    try:
        return function(list(sys.argv[1:] if argv is None else argv))
    except (HcflowError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if (said := environment.explain(error)) is None:
            raise
        return fail(said)
