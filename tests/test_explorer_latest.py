"""Of quick requests the newest one is shown last, and those that it replaced are not computed."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from hcflow_jax.explorer.latest import Latest


class Desk:
    """A value that is asked for; its work waits until `go` is set."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.value, self.begun, self.shown, self.failures = 0, [], [], []
        self.go, self.pool = threading.Event(), pool
        self.latest = Latest(pool, self.steps, self.failures.append)

    def steps(self):
        value = self.value
        yield lambda: self.work(value), self.shown.append
        yield lambda: self.work(f"more of {value}"), self.shown.append

    def work(self, value):
        self.begun.append(value)
        assert self.go.wait(10)
        if value == 13:
            raise ValueError("unlucky")
        return value

    def ask(self, value: int) -> None:
        self.value = value
        self.latest.ask()

    async def finish(self) -> None:
        self.go.set()
        while self.latest.busy:
            await asyncio.sleep(0.001)


def run(script) -> Desk:
    async def main() -> Desk:
        with ThreadPoolExecutor(1) as pool:
            desk = Desk(pool)
            await script(desk)
            return desk

    return asyncio.run(main())


def test_a_drag_ends_in_the_last_value():
    async def drag(desk: Desk) -> None:
        desk.ask(1)
        while not desk.begun:
            await asyncio.sleep(0.001)
        for value in range(2, 50):
            desk.ask(value)
        await desk.finish()

    desk = run(drag)
    assert desk.shown == [1, 49, "more of 49"]
    assert desk.begun == desk.shown


def test_one_after_the_other_all_are_shown():
    async def twice(desk: Desk) -> None:
        for value in (1, 2):
            desk.ask(value)
            await desk.finish()

    assert run(twice).shown == [1, "more of 1", 2, "more of 2"]


def test_what_fails_is_told_and_the_next_request_works():
    async def fail(desk: Desk) -> None:
        for value in (13, 2):
            desk.ask(value)
            await desk.finish()

    desk = run(fail)
    assert [str(error) for error in desk.failures] == ["unlucky"]
    assert desk.shown == [2, "more of 2"]


def test_a_bounded_number_is_at_work():
    async def many(pool: ThreadPoolExecutor) -> list[Desk]:
        desks = [Desk(pool) for _ in range(5)]
        for desk in desks:
            desk.ask(1)
        while sum(len(desk.begun) for desk in desks) < 2:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert sum(len(desk.begun) for desk in desks) == 2
        for desk in desks:
            desk.go.set()
        for desk in desks:
            await desk.finish()
        return desks

    with ThreadPoolExecutor(2) as pool:
        desks = asyncio.run(many(pool))
    assert all(desk.shown == [1, "more of 1"] for desk in desks)
