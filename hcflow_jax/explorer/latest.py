"""The newest of many requests: while one is at work, those that a newer one replaced are never begun."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any

Step = tuple[Callable[[], Any], Callable[[Any], None]]


class Latest:
    """Computes for one page in the threads that all pages share, one request at a time, the newest last.

    All methods are called in the event loop's thread.
    """

    def __init__(self, pool: Executor, steps: Callable[[], Iterator[Step]], failed: Callable[[Exception], None]):
        """Does nothing yet.

        Args:
          pool: bounds how many pages compute at once.
          steps: is called when a request begins. It gives functions that compute, in a thread of the pool, and for
            each one that shows its result. Between two steps a newer request takes over.
          failed: is told an exception of a step; the request's other steps are left out.
        """
        self._pool, self._steps, self._failed = pool, steps, failed
        self._asked = self._done = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is not done yet."""
        return self._done != self._asked

    def ask(self) -> None:
        """Asks for the steps of what there is now."""
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
