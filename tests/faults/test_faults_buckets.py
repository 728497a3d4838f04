"""Runs in a bucket that are killed amid a save: started again, they become what they would have been."""

import signal
import time

import pytest
import runs

from hcflow_jax import checkpoint

pytestmark = pytest.mark.full
RUN = "gs://research/run"
STEPS = "num_steps=12"


def _start(folder, *arguments):
    return runs.python("victim.py", RUN, folder / "images", STEPS, *arguments)


def _finish(folder, *arguments):
    process = _start(folder, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def _ends(processes):
    for process in processes:
        process.communicate(timeout=300)
    return [process.returncode for process in processes]


def _wait(holds, process):
    end = time.monotonic() + 300
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def _assert_same(gcs, untouched):
    a, b = (checkpoint.load(workdir, runs.PARTS) for workdir in (RUN, untouched))
    runs.assert_equal(a.arrays, b.arrays)
    assert runs.rows_of(gcs.content("research", "run/history.jsonl").decode()) == runs.history(untouched)


def test_killed_amid_the_upload_of_a_save(gcs, tmp_path):
    """Lost each time: the steps since the save before, taken again. At the end: nothing."""
    status, _, err = runs.finish(tmp_path / "untouched", STEPS)
    assert status == 0, err
    newest = 0
    # While arrays are uploaded, while the step is marked as complete, and while it is sealed.
    for step, what in ((2, "state/ocdbt"), (6, "commit_success"), (10, "seal.json")):
        with gcs.failing(rf"^(POST|PUT) .*checkpoints/{step}/{what}", seconds=600, passes=True) as fault:
            process = _start(tmp_path)
            _wait(lambda fault=fault: fault.seen, process)
            process.kill()
            _, err = process.communicate()
            assert process.returncode == -signal.SIGKILL
            fault.seconds = 0  # what waits at the server goes on; its connection is gone
        sealed = what == "seal.json"  # by then the step is complete
        newest = step if sealed else step - 2
        gcs.age("research", "run/lease.json", 100)
        if newest:
            assert checkpoint.load(RUN).step == newest
    status, out, err = _finish(tmp_path)
    assert status == 0, err
    assert f"resuming at step {newest}" in out and f"done: {RUN}/result.json" in out
    _assert_same(gcs, tmp_path / "untouched")
    steps = {name.split("/")[2] for name in gcs.names("research", "run/checkpoints/")}
    assert steps == {"10", "12"}


def test_sigterm_saves_in_the_bucket_and_a_failed_save_is_one_line(gcs, tmp_path):
    with gcs.failing(r"^POST .*checkpoints/4/state", status=403):
        process = _start(tmp_path, "num_steps=100000")
        _wait(lambda: gcs.names("research", "run/checkpoints/6/seal.json"), process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 143, err
    saved = checkpoint.load(RUN).step
    assert f"SIGTERM: saved step {saved}; the same command resumes there" in out
    assert not gcs.names("research", "run/lease.json")
    assert "Traceback" not in err and "loop is closed" not in err, err
    assert [line for line in err.splitlines() if line.startswith(f"error: {RUN}/checkpoints/4 could not be saved")]


def test_another_process_is_refused_while_one_trains(gcs, tmp_path):
    first = _start(tmp_path, "num_steps=100000")
    try:
        _wait(lambda: gcs.names("research", "run/lease.json"), first)
        status, _, err = _finish(tmp_path)
        assert status != 0
        assert (
            f"{RUN}: process {first.pid} of " in err and "is training in it; stop it, or name another workdir" in err
        )
    finally:
        first.kill()
        first.communicate()


def test_two_processes_that_are_one_run_lose_one_of_them(gcs, tmp_path):
    """Each process writes its part of a checkpoint. The first one copies the small files, and holds the lease."""
    flags, never = "--config.train.num_steps=8", 1_000_000
    whole = runs.start_pair(tmp_path / "untouched", "accumulating", (never, never), flags, folder=tmp_path)
    assert _ends(whole) == [0, 0]
    pair = runs.start_pair(RUN, "accumulating", (never, 5), flags, folder=tmp_path)
    runs.until_held(pair[1])
    assert gcs.names("research", "run/lease.json")
    runs.kill(pair[1])
    _, err = pair[0].communicate(timeout=runs.HEARTBEAT + 60)
    assert pair[0].returncode == 2 and "another process of the run is gone" in err
    if gcs.names("research", "run/lease.json"):  # it may have been given back
        gcs.age("research", "run/lease.json", 100)
    again = runs.start_pair(RUN, "accumulating", (never, never), flags, folder=tmp_path)
    assert _ends(again) == [0, 0]
    _assert_same(gcs, tmp_path / "untouched")
    assert not gcs.names("research", "run/lease.json")
