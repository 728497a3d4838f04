"""Runs in a bucket that are killed amid a save: started again, they become what they would have been."""

import json
import signal
import time

import pytest
import runs

from hcflow_jax import checkpoint

pytestmark = pytest.mark.full
RUN = "gs://research/run"
STEPS = "num_steps=12"


def _start(folder, *arguments):
    return runs._python("victim.py", RUN, folder / "images", STEPS, *arguments)


def _finish(folder, *arguments):
    process = _start(folder, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def _wait(holds, process):
    end = time.monotonic() + 300
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


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
    a, b = (checkpoint.load(workdir, runs.PARTS) for workdir in (RUN, tmp_path / "untouched"))
    runs.assert_equal(a.arrays, b.arrays)
    rows = [json.loads(line) for line in gcs.content("research", "run/history.jsonl").decode().splitlines()]
    rows = [{name: value for name, value in row.items() if name not in runs.CLOCKED} for row in rows]
    assert rows == runs.history(tmp_path / "untouched")
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
