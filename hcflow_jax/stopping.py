"""SIGINT, SIGTERM and SIGHUP stop a command cleanly: it prints one line, and its status is 128 + the signal's number.

Commands are run by `run`. The effect of the first signal depends on what the main thread is doing:

    Python code             `Stopped` is raised there, so that unfinished files are removed
    inside `noted`          the signal is only noted, so that a training step is finished and saved
    importing               the process ends at once: no file is unfinished, and packages may catch exceptions
    compiled code           as in Python code, when it returns; the process ends after `listener.STUCK` seconds

A second SIGINT ends the process at once; any other second signal has no effect. Signals that were ignored at the
start stay ignored, such as SIGHUP under `nohup`, or SIGINT in a job that a script starts with `&`.

Only a process that belongs to the command is ended at once. If Python code calls a command or trains, `Stopped` is
raised instead (for SIGINT it is also a KeyboardInterrupt), and the handlers are removed when the call returns.
Outside the main thread no handlers are set.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hcflow_jax import streams
from hcflow_jax.listener import SIGNALS, Listener, Stopped, stopped, unfinished

__all__ = ["READER_GONE", "Stopped", "begin", "came", "noted", "run", "stopped", "unfinished", "withheld"]

READER_GONE = 141  # 128 + SIGPIPE
FAILED = 2  # the status if a file cannot be read or written


def _called_alone() -> bool:
    """Whether only this package and the script that called it are running: no notebook, no other program."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("hcflow_jax", "__main__", "runpy"):
            return False
        frame = frame.f_back
    return not hasattr(sys, "ps1") and not sys.flags.interactive


_active: Listener | None = None


def begin() -> None:
    """Sets the handlers until the process ends. A command that owns its process calls it as early as possible."""
    global _active
    if _active is None and threading.current_thread() is threading.main_thread():
        streams.open_missing()
        _active = Listener(owns=True)
        _active.install()


@contextmanager
def _listening() -> Iterator[Listener]:
    """The active listener, or a new one for the block. Outside the main thread, a listener without handlers."""
    global _active
    if threading.current_thread() is not threading.main_thread():
        yield Listener(owns=False)
    elif _active is not None:
        yield _active
    else:
        _active = Listener(owns=False)
        _active.install()
        try:
            yield _active
        finally:
            _active.remove()
            _active = None


@contextmanager
def noted(note: Callable[[int], None]) -> Iterator[None]:
    """Inside the block, the first signal is only noted.

    SIGTERM is noted even if it was ignored before: job scripts ignore it for themselves, and their commands inherit
    that.

    Args:
      note: is called with the number of the signal, in the main thread.
    """
    with _listening() as listener:
        main = threading.current_thread() is threading.main_thread()
        ignored = main and signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        before, listener.note = listener.note, note
        if ignored:
            signal.signal(signal.SIGTERM, listener.handle)
        try:
            yield
        finally:
            if ignored:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            listener.note = before


@contextmanager
def withheld() -> Iterator[None]:
    """Processes that are started inside the block do not get the signals. The caller must end them itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def came() -> bool:
    """Whether a signal has interrupted the command. Errors after that are consequences of the interruption."""
    return _active is not None and _active.raised


def run(function: Callable[[], int], line: str = "stopped", *, owns: bool = False) -> int:
    """Runs a command.

    Args:
      function: the command; it returns its exit status.
      line: the line to print on stderr if a signal stops the command.
      owns: whether the process belongs to the command, if no other program called it. Then a signal may end it at
        once.

    Returns:
      The exit status: that of the function; 128 + the signal's number if a signal stopped it; 141 if the reader of
      its output is gone; 2, after one line, if a file cannot be read or written or the output cannot be printed.
    """
    if owns and _called_alone():
        begin()
    with _listening() as listener:
        listener.line, listener.running = line, True
        try:
            status = function()
        except BaseException as error:
            status = _status(error, listener)
            if status is None:
                raise
            told = status == READER_GONE or getattr(error, "told", isinstance(error, SystemExit))
            if isinstance(error, OSError) and status == FAILED:
                line = f"error: {error}"
            if listener.raised and listener.owns:  # not by returning: at its end the interpreter waits for threads
                listener.end(status, "" if told else line)
            if not told:
                streams.say(line, sys.stderr)
        finally:
            listener.running = False
        hindered = streams.flush()
        if hindered is None or status:
            return status
        if isinstance(hindered, BrokenPipeError):
            return READER_GONE
        streams.say(f"error: the output could not be written ({hindered.strerror})", sys.stderr)
        return FAILED


def _status(error: BaseException, listener: Listener) -> int | None:
    """The exit status for an exception; None if it must be raised again."""
    if listener.raised and listener.first is not None:
        return 128 + listener.first
    if isinstance(error, Stopped):
        return 128 + error.number
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, SystemExit) and error.code in (None, 0):  # from --help, which has printed its text
        return 0
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    return FAILED if isinstance(error, OSError) else None
