"""Computes only the newest of many requests. While one is computed, newer requests replace those that wait."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

Step = tuple[Callable[[], Any], Callable[[Any], None]]


class Latest:
    """Computes for one page, one request at a time, in threads that all pages share.

    Call all methods in the thread of the event loop.
    """

    def __init__(self, pool: Executor, steps: Callable[[], Iterator[Step]], failed: Callable[[Exception], None]):
        """Keeps the arguments. Nothing is computed before `ask`.

        Args:
          pool: the threads. Their number limits how many pages compute at once.
          steps: is called when a request begins. It yields pairs of functions: the first computes, in a thread of the
            pool, and the second shows the result. Between two steps a newer request may take over.
          failed: is called with the exception of a step that fails. The other steps of the request are skipped.
        """
        self._pool, self._steps, self._failed = pool, steps, failed
        self._asked = self._done = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is not finished."""
        return self._done != self._asked

    def ask(self) -> None:
        """Makes a request. It replaces a request that waits."""
        self._asked += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self.busy:
            number = self._asked
            try:
                for compute, show in self._steps():
                    show(await loop.run_in_executor(self._pool, compute))
                    if number != self._asked:
                        break
            except Exception as error:
                self._failed(error)
            self._done = number
