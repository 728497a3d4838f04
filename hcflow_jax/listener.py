"""Handles SIGINT, SIGTERM and SIGHUP for `stopping`, whose docstring describes the rules."""

import logging
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hcflow_jax import streams

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
STUCK = 5.0  # seconds: compiled code may continue for this long after the first signal
CLEANING = 30.0  # seconds: the time that a command has to remove its unfinished files
TWICE = 0.05  # seconds: two SIGINTs closer than this are one that was sent to the process and to its group

unfinished: set[Path] = set()  # unfinished files; they are removed if the process ends at once


class Stopped(SystemExit):
    """A signal stopped the process. A script that does not catch it ends silently, with the exit status.

    Attributes:
      number: the number of the signal.
      told: whether the user has already seen a message.
    """

    def __init__(self, number: int, told: bool = False) -> None:
        super().__init__(128 + number)
        self.number, self.told = number, told


class StoppedByKey(Stopped, KeyboardInterrupt):
    """SIGINT stopped the process: Ctrl-C, or the stop button of a notebook."""


def stopped(number: int, told: bool = False) -> Stopped:
    """The exception for a signal."""
    return (StoppedByKey if number == signal.SIGINT else Stopped)(number, told)


class Listener:
    """Handles signals, for the whole process or for one call in it."""

    def __init__(self, owns: bool) -> None:
        self.owns = owns  # whether it may end the process at once
        self.line = "stopped"  # the last line to print
        self.running = False  # inside `run`
        self.note: Callable[[int], None] | None = None  # gets the first signal, inside `noted`
        self.first: int | None = None  # the number of the first signal
        self.raised = False  # whether `handle` has raised
        self._interrupted: float | None = None  # when the first SIGINT was handled
        self._deadline: float | None = None
        self._ending = threading.Lock()
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Sets the handlers."""
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before is not None and before != signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self.handle)
        if self.owns:
            receiver, sender = os.pipe()
            os.set_blocking(sender, False)
            signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=[receiver], name="signals", daemon=True).start()
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._raised_in_vain

    def remove(self) -> None:
        """Restores the previous handlers. Only for a listener that does not own the process."""
        for number, before in self._before.items():
            signal.signal(number, before)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler. Python calls it in the main thread, between two bytecode instructions."""
        now = time.monotonic()
        if self.first is not None:
            self._again(number, now)
            return
        self.first = number
        if number == signal.SIGINT:
            self._interrupted = now
        if self.note is not None:
            self.note(number)
            return
        self.raised = True
        if self.owns:
            if not self.running or _importing(frame):
                self.end(128 + number, self.line)
            self._deadline = now + CLEANING
            logging.disable(logging.CRITICAL)  # later messages would only report the interruption
        raise stopped(number)

    def _again(self, number: int, now: float) -> None:
        if self.owns or number != signal.SIGINT:
            return  # `_watch` handles it
        if self._interrupted is None:
            self._interrupted = now
        elif now - self._interrupted > TWICE:
            raise stopped(number)

    def _watch(self, receiver: int) -> None:
        """Runs in its own thread. It sees signals at once, even while the main thread runs compiled code."""
        first, interrupted = None, None
        while True:
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            came = os.read(receiver, 64) if select.select([receiver], [], [], left)[0] else b""
            now = time.monotonic()
            for number in (number for number in came if number in self._before):
                if first is None:
                    first = number
                    if self.note is None:
                        self._deadline = self._deadline or now + STUCK
                    elif number == signal.SIGINT and os.isatty(2):
                        _write("\nto be stopped after this step, saved; Ctrl-C again stops at once")
                if number == signal.SIGINT:
                    interrupted = interrupted or now
                    if now - interrupted > TWICE:
                        self.end(128 + number, self.line)
            if first is not None and self._deadline is not None and now >= self._deadline:
                self.end(128 + first, self.line)

    def _raised_in_vain(self, what: Any) -> None:
        """The hook for exceptions that Python cannot raise, as in a finalizer. For `Stopped` it ends the process."""
        if isinstance(what.exc_value, Stopped):
            self.end(128 + what.exc_value.number, self.line)
        self._unraisable(what)

    def end(self, status: int, line: str) -> NoReturn:
        """Ends the process at once: removes unfinished files and prints the last line."""
        if not self._ending.acquire(blocking=False):
            time.sleep(CLEANING)  # the other thread is ending the process
        for path in tuple(unfinished):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if threading.current_thread() is threading.main_thread():
            with suppress(RuntimeError):  # the signal came during a print
                streams.flush()
        if line:
            _write(f"\n{line}" if os.isatty(2) else line)
        os._exit(status)


def _write(line: str) -> None:
    """Writes to standard error without Python's lock, which the other thread may hold during a print."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="replace"))


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
