"""SIGINT, SIGTERM and SIGHUP end a command in good order: one line, and the status 128 + the signal's number.

Commands go through `run`. What the first signal does depends on what the main thread is doing:

    at work                 `Stopped` is raised there, so that what is half written is removed on its way
    inside `noted`          it is noted, so that a training step is finished and saved
    importing               the process ends at once: nothing is half written, and packages may catch what is raised
    in compiled code        as at work, once that returns; after `listener.STUCK` seconds the process ends at once

A second SIGINT ends the process at once; any other second signal changes nothing. Signals that were ignored at the
start stay ignored: SIGHUP under `nohup`, SIGINT of a job that a script starts with `&`.

The process is ended at once only where it is the command's own. Where Python code calls a command or trains,
`Stopped` is raised instead, for SIGINT a KeyboardInterrupt, and the handlers are gone when the call returns. Outside
the main thread no handler is set.
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
FAILED = 2  # of a file that cannot be read or written, with one line


def _called_alone() -> bool:
    """Whether all that runs is this package and the script that called it: no notebook, no other program."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in ("hcflow_jax", "__main__", "runpy"):
            return False
        frame = frame.f_back
    return not hasattr(sys, "ps1") and not sys.flags.interactive


_active: Listener | None = None


def begin() -> None:
    """Listens for as long as the process lives: for a command whose process this is, as early as can be."""
    global _active
    if _active is None and threading.current_thread() is threading.main_thread():
        streams.open_missing()
        _active = Listener(owns=True)
        _active.install()


@contextmanager
def _listening() -> Iterator[Listener]:
    """The listener that is there, or one for the block. Outside the main thread one that hears nothing."""
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
    """Inside, the first signal is only noted.

    SIGTERM is heard even if it was ignored before: job scripts ignore it for themselves, and commands inherit that.

    Args:
      note: is given the signal's number, in the main thread.
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
    """Processes that are started inside never get the signals: whoever starts them sees to their end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def came() -> bool:
    """Whether a signal has broken off what was going on: what fails from then on fails because of it."""
    return _active is not None and _active.raised


def run(function: Callable[[], int], line: str = "stopped", *, owns: bool = False) -> int:
    """Runs a command.

    Args:
      function: the command; returns its exit status.
      line: what is said on stderr if it is stopped.
      owns: whether the process is the command's own, if nothing else called it. It may then be ended at once.

    Returns:
      The exit status: that of the function; 128 + the signal's number if it was stopped; 141 if the reader of what it
      prints is gone; 2, after one line, for what cannot be read, written or printed.
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
            if listener.raised and listener.owns:  # without the interpreter's end, which waits for threads
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
    """The status of a command that raised; None if it is to be raised on."""
    if listener.raised and listener.first is not None:
        return 128 + listener.first
    if isinstance(error, Stopped):
        return 128 + error.number
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, SystemExit) and error.code in (None, 0):  # of --help, which has printed
        return 0
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    return FAILED if isinstance(error, OSError) else None
