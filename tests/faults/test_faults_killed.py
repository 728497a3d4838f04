"""Runs that are killed: started again, they become what they would have been."""

import json
import signal
import time

import pytest
import runs
import victim

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def untouched(folder):
    status, _, err = runs.finish(folder / "untouched")
    assert status == 0, err
    return folder / "untouched"


def test_killed_at_twenty_points(untouched, folder):
    """Lost each time: the steps since the last save, taken again. At the end: nothing."""
    cut = folder / "cut"
    points = [victim.INSIDE[i % 5] if i % 2 else victim.OUTSIDE[i // 2 % 2] for i in range(20)]
    assert sum(point in victim.INSIDE for point in points) >= 8 and set(points) == {*victim.INSIDE, *victim.OUTSIDE}
    newest = 0
    for point in points:
        at = newest + (5 if point in victim.OUTSIDE else 4)  # every other step is saved
        process = runs.start(cut, point, at, **({"NO_START": ""} if newest else {}))
        said = runs.until_held(process)
        if newest:
            assert f"resuming at step {newest}" in said
        runs.kill(process)
        there = runs.steps(cut)[-1]
        if point in victim.OUTSIDE:
            assert there - newest in (2, 4), point  # the last save was still going on, or was not
        else:  # what had not got its name is not there; what had is, sealed or not
            assert there - newest == (4 if "seal" in point else 2), point
        newest = there
    status, out, err = runs.finish(cut, NO_START="")
    assert status == 0, err
    assert f"resuming at step {newest}" in out
    runs.assert_same(cut, untouched)
    assert not (cut / "unreadable").exists()
    assert not [path for path in (cut / "checkpoints").iterdir() if not path.name.isdigit()]


def test_sigterm_twice_while_saving(untouched, folder):
    """Lost: nothing. The second signal changes nothing about the save that the first asked for."""
    workdir = folder / "twice"
    process = runs.start(workdir, "told to end", 5, "checkpoint_every=50")
    said = runs.until_held(process)  # at the end of step 5, with the first signal sent by itself
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert said and "SIGTERM: saved step" in out
    (saved,) = runs.steps(workdir)
    assert (workdir / "checkpoints" / str(saved) / "seal.json").exists()
    assert runs.finish(workdir, NO_START="")[0] == 0
    runs.assert_same(workdir, untouched)


def test_resumed_exactly_at_the_end_of_an_epoch(untouched, folder):
    """Lost: nothing. An epoch is four steps here, in which rates fall, averaging begins and the encoder freezes."""
    workdir = folder / "epochs"
    for stop in (4, 48, 52):  # averaging begins at 4, the freeze at 48
        status, _, err = runs.finish(workdir, f"num_steps={stop}")
        assert status == 0, err
    assert runs.finish(workdir, NO_START="")[0] == 0
    written = workdir / "history.jsonl"
    kept = [line for line in written.read_text().splitlines() if _of_the_whole(json.loads(line))]
    written.write_text("\n".join(kept))
    runs.assert_same(workdir, untouched)


def _of_the_whole(row):
    """Not an evaluation at the end of a part."""
    return row["kind"] == "train" or row["step"] in (0, victim.STEPS)
