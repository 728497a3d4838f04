"""Reading ahead: in order and bounded, and a thread that fails or hangs is a message and never a hang."""

import gc
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hcflow_jax.data import DataError, prefetch
from hcflow_jax.data.prefetch import Ahead

LIMIT = 10  # seconds: far more than anything here takes


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Of a test's own threads none outlives it."""
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert _soon(lambda: not set(threading.enumerate()) - before)


@pytest.fixture
def stuck():
    """What a hanging read waits for, until the test is over."""
    event = threading.Event()
    yield event
    event.set()


def _soon(condition) -> bool:
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _ahead(do, items=None, *, threads=2, most=4, **how) -> Ahead:
    items = iter(itertools.count() if items is None else items)
    return Ahead(items, do, threads=threads, most=most, name="set", **how)


def _uneven(i: int) -> int:
    time.sleep(0.002 * (i % 3))
    return i * i


@pytest.mark.parametrize("threads", [0, 1, 2, 3])
def test_results_come_in_the_order_of_the_items(threads):
    assert list(_ahead(_uneven, range(30), threads=threads)) == [i * i for i in range(30)]


def test_no_more_than_it_may_is_ahead():
    started: list[int] = []
    ahead = _ahead(lambda i: started.append(i) or i, most=3)
    assert _soon(lambda: len(started) == 3)
    for taken in range(5):
        assert next(ahead) == taken
        assert _soon(lambda least=taken + 4: len(started) == least)
        time.sleep(0.02)
        assert sorted(started) == list(range(taken + 4))
    ahead.close()


def test_nothing_is_ahead_without_threads():
    started: list[int] = []
    ahead = _ahead(lambda i: started.append(i) or i, threads=0)
    assert [next(ahead), next(ahead)] == started == [0, 1]
    ahead.close()
    assert list(ahead) == []


def test_a_result_handed_over_is_not_kept():
    class Result:
        alive = 0

        def __init__(self, _):
            Result.alive += 1

        def __del__(self):
            Result.alive -= 1

    ahead = _ahead(Result, most=3)
    for _ in range(20):
        result = next(ahead)
    assert result is not None and _soon(lambda: Result.alive == 4)
    del result
    ahead.close()
    assert _soon(lambda: Result.alive == 0)


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("error", [RuntimeError("no such\nrecord"), TimeoutError("late"), MemoryError()])
def test_what_a_thread_raises_is_raised(threads, error):
    def fail(i: int) -> int:
        if i == 3:
            raise error
        return i

    ahead = _ahead(fail, threads=threads, most=1)
    assert list(itertools.islice(ahead, 3)) == [0, 1, 2]
    with pytest.raises(DataError) as raised:
        next(ahead)
    assert str(raised.value) == f"set: reading ahead failed ({error!r})"
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is error
    assert list(ahead) == []


def test_a_data_error_stays_as_it_is():
    error = DataError("a.png: cannot be read")

    def fail(_: int) -> None:
        raise error

    with pytest.raises(DataError) as raised:
        next(_ahead(fail))
    assert raised.value is error


def test_a_thread_that_exits_is_noticed():
    with pytest.raises(DataError, match=r"set: reading ahead failed \(SystemExit\(3\)\)"):
        next(_ahead(lambda _: sys.exit(3)))


def test_items_that_fail_are_noticed():
    with pytest.raises(DataError, match="ZeroDivisionError"):
        list(_ahead(lambda i: i, (1 // i for i in (1, 1, 0, 1))))


def test_an_error_is_not_kept_waiting_by_a_read_that_hangs(stuck, monkeypatch):
    monkeypatch.setattr(prefetch, "GRACE", 0.05)

    def read(i: int) -> None:
        if i == 1:
            raise DataError("gone")
        stuck.wait()

    start = time.monotonic()
    with pytest.raises(DataError, match="gone"):
        next(_ahead(read))
    assert time.monotonic() - start < LIMIT


@pytest.mark.parametrize("stages", [1, 2])
def test_a_read_that_hangs_ends_in_a_message(stuck, monkeypatch, stages):
    monkeypatch.setattr(prefetch, "GRACE", 0.05)
    read = _ahead(lambda i: i if i < 2 else stuck.wait(), seconds=0.2 if stages == 1 else float("inf"))
    ahead = read if stages == 1 else _ahead(lambda i: i, read, threads=1, most=2, seconds=0.2)
    assert [next(ahead), next(ahead)] == [0, 1]
    start = time.monotonic()
    with pytest.raises(DataError, match=r"set: no images came for 0\.2 s \(data\.read_timeout\)"):
        next(ahead)
    assert 0.2 <= time.monotonic() - start < LIMIT
    assert list(ahead) == []


def test_a_slow_read_is_no_hang():
    """The limit is on one result's waiting, not on the sum."""
    ahead = _ahead(lambda i: time.sleep(0.4) or i, threads=1, most=1, seconds=1)
    assert list(itertools.islice(ahead, 3)) == [0, 1, 2]
    ahead.close()


def test_what_waits_can_be_called_away_and_go_on():
    class Away(Exception):
        pass

    go, calls = threading.Event(), []

    def look() -> None:
        calls.append(time.monotonic())
        if len(calls) == 2:
            raise Away

    ahead = _ahead(lambda i: go.wait() and i, while_waiting=look)
    with pytest.raises(Away):
        next(ahead)
    go.set()
    assert list(itertools.islice(ahead, 3)) == [0, 1, 2]
    ahead.close()


@pytest.mark.parametrize("how", ["closed", "let go of", "exhausted", "failed"])
def test_the_threads_of_both_stages_end(how):
    before = threading.active_count()
    items = range(5) if how in ("exhausted", "failed") else None
    fail = how == "failed"
    ahead = _ahead(lambda i: 1 // (4 - i) if fail else i, _ahead(lambda i: i, items), threads=1, most=2)
    next(ahead)
    assert how in ("exhausted", "failed") or threading.active_count() == before + 3
    if how == "closed":
        ahead.close()
        assert threading.active_count() == before and list(ahead) == []
    elif how == "let go of":
        del ahead
    elif how == "failed":
        with pytest.raises(DataError):
            list(ahead)
    else:
        assert list(ahead) == [1, 2, 3, 4]
    assert _soon(lambda: threading.active_count() == before)


def test_closing_waits_for_the_read_in_hand():
    finished = threading.Event()
    started = threading.Event()
    ahead = _ahead(lambda i: started.set() or time.sleep(0.1) or finished.set(), threads=1)
    assert started.wait(LIMIT)
    ahead.close()
    assert finished.is_set()


@pytest.mark.full
def test_a_hanging_read_does_not_keep_the_process():
    code = (
        "import itertools, time; from hcflow_jax.data import prefetch; prefetch.GRACE = 0.5\n"
        "hang = lambda _: time.sleep(1e6)\n"
        "next(prefetch.Ahead(itertools.count(), hang, threads=2, most=2, name='set', seconds=1))\n"
    )
    root = str(Path(__file__).parents[1])
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and run.stderr.splitlines()[-1].endswith("start again when it does")
