"""Work done ahead of whoever needs it: in order, bounded, in threads that a process can leave behind.

Nothing can end a read that storage does not answer, and the threads that grain reads with, not being daemons, would
then keep the process from ending too. These are daemons, so such a run ends with its message.
"""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from hcflow_jax.data.source import DataError

LOOK = 0.1  # seconds between two looks at whether waiting is to end
GRACE = 5.0  # seconds that closing gives threads to finish the item in hand

R = TypeVar("R")


class _Slot:
    """The place of one item in the order; `done` once it holds its result, an error or the end."""

    def __init__(self) -> None:
        self.done, self.ended = False, False
        self.result: Any = None
        self.error: BaseException | None = None


class _Shared:
    """What the threads know of their iterator: not the iterator itself, which can so be let go of."""

    def __init__(self, items: Iterator[Any], do: Callable[[Any], Any], most: int) -> None:
        self.items, self.do, self.most = items, do, most
        self.slots: deque[_Slot] = deque()
        self.changed = threading.Condition()
        self.taking = threading.Lock()  # items are taken one at a time, in order
        self.closed, self.exhausted = False, False

    def work(self) -> None:
        """What a thread runs."""
        while self._one():
            pass  # an item and its result live in `_one` alone: a thread that waits keeps neither alive

    def _one(self) -> bool:
        slot, item = _Slot(), None
        with self.taking:
            with self.changed:
                self.changed.wait_for(lambda: self.closed or self.exhausted or len(self.slots) < self.most)
                if self.closed or self.exhausted:
                    return False
            try:
                item = next(self.items)
            except StopIteration:
                slot.ended = True
            except BaseException as error:
                slot.error = error
            self.exhausted = slot.ended or slot.error is not None
            with self.changed:
                self.slots.append(slot)
        goes_on = not slot.ended and slot.error is None
        if goes_on:
            try:
                slot.result = self.do(item)
            except BaseException as error:  # SystemExit too: nothing else would tell who waits for its result
                slot.error, goes_on = error, False
        with self.changed:
            slot.done = True
            self.changed.notify_all()
        return goes_on

    def take(self) -> _Slot | None:
        """The slot to hand over, None while there is none; with `changed` held.

        An error goes before what would still have to be waited for.
        """
        if self.closed:
            end = _Slot()
            end.ended = True
            return end
        if self.slots and self.slots[0].done:
            self.changed.notify_all()
            return self.slots.popleft()
        return next((slot for slot in self.slots if slot.error is not None), None)


class Ahead(Generic[R]):
    """An iterator of do(item) for every item, in the items' order, that threads compute ahead.

    At most `most` results, finished or being computed, are in memory, and the one handed over last.

    The threads end when the iterator is exhausted, fails, is closed or is let go of. One that hangs is left behind.
    """

    def __init__(
        self,
        items: Iterator[Any],
        do: Callable[[Any], R],
        *,
        threads: int,
        most: int,
        name: str,
        seconds: float = float("inf"),
        while_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts at once.

        Args:
          items: taken one at a time, in any of the threads; closed with this one if it is an `Ahead`.
          do: called in the threads.
          threads: 0 computes each result when it is asked for, in the asking thread: without a limit on the time.
          most: results ahead, at least 1.
          name: the name of the set of images, for messages.
          seconds: how long `next` waits.
          while_waiting: called every `LOOK` seconds that `next` waits; what it raises ends the waiting, and the next
            call waits anew.
        """
        self._name, self._seconds, self._while_waiting = name, seconds, while_waiting
        self._shared = _Shared(items, do, most)
        self._threads = [
            threading.Thread(target=self._shared.work, name=f"images ahead {i}", daemon=True) for i in range(threads)
        ]
        # It also runs as the interpreter ends: a daemon that is amid foreign code then can crash the process.
        self.close = weakref.finalize(self, _end, self._shared, self._threads)
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[R]:
        return self

    def __next__(self) -> R:
        """The next result.

        Raises:
          StopIteration: there is none, or this was closed.
          DataError: `do` or an item failed; or nothing came in time. This is closed then.
        """
        slot = self._wait() if self._threads else self._compute()
        if slot.error is None and not slot.ended:
            return slot.result
        self.close()
        if slot.error is None:
            raise StopIteration
        if isinstance(slot.error, DataError):
            raise slot.error
        raise DataError(f"{self._name}: reading ahead failed ({repr(slot.error)[:300]})") from slot.error

    def _compute(self) -> _Slot:
        slot = _Slot()
        slot.ended = self._shared.closed
        try:
            slot.result = None if slot.ended else self._shared.do(next(self._shared.items))
        except StopIteration:
            slot.ended = True
        except Exception as error:
            slot.error = error
        return slot

    def _wait(self) -> _Slot:
        changed, start = self._shared.changed, time.monotonic()
        while (rest := self._seconds - (time.monotonic() - start)) > 0:
            with changed:
                slot = changed.wait_for(self._shared.take, min(LOOK, rest))
            if slot is not None:
                return slot
            self._while_waiting()
        self.close()
        raise DataError(
            f"{self._name}: no images came for {self._seconds:g} s (data.read_timeout): the storage does not answer; "
            "start again when it does"
        )


def _end(shared: _Shared, threads: list[threading.Thread]) -> None:
    with shared.changed:
        shared.closed = True
        shared.slots.clear()
        shared.changed.notify_all()
    if isinstance(shared.items, Ahead):
        shared.items.close()  # before joining: a thread may be waiting there
    deadline = time.monotonic() + GRACE
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
