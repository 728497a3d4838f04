"""Runs of the command itself: killed amid a step, bereft of a process, fed what is not finite."""

import json
import time

import numpy as np
import pytest
import runs

from hcflow_jax import checkpoint

pytestmark = pytest.mark.full

NEVER = 1_000_000  # a step that is not reached
STEPS = "--config.train.num_steps=8"
LIMIT = runs.HEARTBEAT + 40  # seconds in which a process ends whose peer is gone, on a busy machine too


def ends(processes, limit=300):
    """Exit statuses and standard errors."""
    try:
        errors = [process.communicate(timeout=limit)[1] for process in processes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                process.communicate()
    return [process.returncode for process in processes], errors


def said(err):
    return [line for line in err.splitlines() if line.startswith("error: ")]


def test_killed_between_two_micro_batches(tmp_path):
    """Lost: the steps since the last save, taken again. What was added up so far is nowhere."""
    process = runs.start_command(tmp_path / "cut", "accumulating", 5, STEPS)
    runs.until_held(process)
    runs.kill(process)
    assert runs.steps(tmp_path / "cut")[-1] in (2, 4)
    for name in ("cut", "untouched"):
        statuses, errors = ends([runs.start_command(tmp_path / name, "accumulating", NEVER, STEPS)])
        assert statuses == [0], errors
    runs.assert_same(tmp_path / "cut", tmp_path / "untouched")


@pytest.fixture(scope="module")
def untouched_pair(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("pair") / "run"
    statuses, errors = ends(runs.start_pair(workdir, "accumulating", (NEVER, NEVER), STEPS))
    assert statuses == [0, 0], errors
    return workdir


@pytest.mark.parametrize("victim", [0, 1])
def test_one_of_two_processes_killed_amid_a_step(untouched_pair, victim):
    """Lost: the steps since the last save. The other waits for its gradient, and ends."""
    workdir = untouched_pair.with_name(f"victim{victim}")
    held = (5, NEVER) if victim == 0 else (NEVER, 5)
    pair = runs.start_pair(workdir, "accumulating", held, STEPS)
    runs.until_held(pair[victim])
    runs.kill(pair[victim])
    killed = time.monotonic()
    (status,), (err,) = ends([pair[1 - victim]], LIMIT)
    assert time.monotonic() - killed < LIMIT
    if victim == 1 or status == 2:
        assert status == 2 and len(said(err)) == 1 and "Traceback" not in err
        assert "another process of the run is gone" in said(err)[0]
    else:  # process 0 is where all report: jax may be the first to see that it is gone
        assert status == -6 and "another task died" in err
    statuses, errors = ends(runs.start_pair(workdir, "accumulating", (NEVER, NEVER), STEPS))
    assert statuses == [0, 0], errors
    runs.assert_same(workdir, untouched_pair)


def test_a_process_whose_images_fail_takes_the_other_along(tmp_path):
    """Lost: the steps since the last save."""
    pair = runs.start_pair(tmp_path / "run", "reading", (NEVER, 100), "--config.train.num_steps=1000")
    statuses, (first, second) = ends(pair)
    assert statuses == [2, 2], (first, second)
    assert len(said(second)) == 1 and "gone (this process's share of the run" in said(second)[0]
    assert len(said(first)) == 1 and "another process of the run is gone" in said(first)[0]
    assert "Traceback" not in first + second
    assert runs.steps(tmp_path / "run")


def _rows(workdir):
    return [json.loads(line) for line in (workdir / "skipped.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_one_bad_image_skips_the_step_in_both_processes(tmp_path, kind):
    """Lost: what that step would have learned. The same as in one process, so both left it out."""
    flags = (STEPS, "--config.train.checkpoint_every=1", "--config.train.keep_checkpoints=8")
    for name, started in (
        ("alone", [runs.start_command(tmp_path / "alone", kind, 0, *flags)]),
        ("pair", runs.start_pair(tmp_path / "pair", kind, (0, 0), *flags)),
    ):
        statuses, errors = ends(started)
        assert set(statuses) == {0}, (name, errors)
    rows, one = (_rows(tmp_path / name) for name in ("pair", "alone"))
    assert rows == one and 1 <= len(rows) < 8
    assert all(5 in row["indices"] and len(row["indices"]) == 16 for row in rows)
    assert all(("loss" in row["not_finite"]) == (kind == "loss") for row in rows)
    assert all(("grad_norm" in row["not_finite"]) == (kind == "gradient") for row in rows)
    for step in (row["step"] for row in rows if row["step"] > 1):
        before, after = (
            checkpoint.load(tmp_path / "pair" / "checkpoints" / str(n), ("params", "opt_state", "ema")).arrays
            for n in (step - 1, step)
        )
        runs.assert_equal(before, after)
    assert any(row["step"] > 1 for row in rows)
    histories = (runs.history(tmp_path / name) for name in ("pair", "alone"))
    # null, of what was not finite, is NaN here
    losses = [np.array([row["loss"] for row in rows if row["kind"] == "train"], float) for rows in histories]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_run_that_is_not_finite_any_more_ends_with_a_line(tmp_path):
    """Lost: nothing that was worth keeping; nothing is saved."""
    flags = ("--config.train.max_skipped=1", STEPS)
    (status,), (err,) = ends([runs.start_command(tmp_path / "run", "loss", 0, *flags)])
    assert status == 2 and len(said(err)) == 1 and "Traceback" not in err
    assert "the loss of level 8 went bad first, in step" in said(err)[0] and "skipped.jsonl" in said(err)[0]
