"""What SIGINT, SIGTERM and SIGHUP do to a process while `stopping` listens, see there."""

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
STUCK = 5.0  # seconds that compiled code may go on after the first signal
CLEANING = 30.0  # seconds in which a command removes what it has half written
TWICE = 0.05  # seconds: two SIGINTs closer than this are one, sent to the process and to its group

unfinished: set[Path] = set()  # files that are being written, to be removed where the process ends at once


class Stopped(SystemExit):
    """A signal told the process to end. A script that does not catch it ends silently, with the status.

    Attributes:
      number: the signal's.
      told: whether the user has been told already.
    """

    def __init__(self, number: int, told: bool = False) -> None:
        super().__init__(128 + number)
        self.number, self.told = number, told


class StoppedByKey(Stopped, KeyboardInterrupt):
    """It was SIGINT: Ctrl-C, or a notebook's stop."""


def stopped(number: int, told: bool = False) -> Stopped:
    """The exception for a signal."""
    return (StoppedByKey if number == signal.SIGINT else Stopped)(number, told)


class Listener:
    """What the signals do to this process, or to a call in it."""

    def __init__(self, owns: bool) -> None:
        self.owns = owns  # whether the process may be ended at once
        self.line = "stopped"
        self.running = False  # inside `run`
        self.note: Callable[[int], None] | None = None
        self.first: int | None = None
        self.raised = False
        self._interrupted: float | None = None  # when the first SIGINT was handled
        self._deadline: float | None = None
        self._ending = threading.Lock()
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Listens from here on."""
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
        """Undoes `install`; of a listener that does not own the process."""
        for number, before in self._before.items():
            signal.signal(number, before)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """What Python calls in the main thread, between two of its instructions."""
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
            logging.disable(logging.CRITICAL)  # what is cut off from here on is no news
        raise stopped(number)

    def _again(self, number: int, now: float) -> None:
        if self.owns or number != signal.SIGINT:
            return  # `_watch` sees to it
        if self._interrupted is None:
            self._interrupted = now
        elif now - self._interrupted > TWICE:
            raise stopped(number)

    def _watch(self, receiver: int) -> None:
        """Sees signals at once, even while the main thread is in compiled code, where no handler runs."""
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
        """Where nothing can be raised, as in a finalizer, Python tells this hook and goes on."""
        if isinstance(what.exc_value, Stopped):
            self.end(128 + what.exc_value.number, self.line)
        self._unraisable(what)

    def end(self, status: int, line: str) -> NoReturn:
        """Ends the process at once, with its last line."""
        if not self._ending.acquire(blocking=False):
            time.sleep(CLEANING)  # the other thread is about to
        for path in tuple(unfinished):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if threading.current_thread() is threading.main_thread():
            with suppress(RuntimeError):  # the signal came amid a print
                streams.flush()
        if line:
            _write(f"\n{line}" if os.isatty(2) else line)
        os._exit(status)


def _write(line: str) -> None:
    """To standard error, past Python's own lock: the other thread may be amid a print."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="replace"))


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
