"""Several processes restore the same step, or none does and all say why. A function plays the other process."""

import types
from typing import Any, cast

import pytest
from test_checkpoint import assert_same, config, saved, state, truncate

from hcflow_jax.checkpoint import CheckpointError, Checkpoints, agreement
from hcflow_jax.checkpoint.files import SEAL
from hcflow_jax.checkpoint.reading import UnequalError
from hcflow_jax.training import resumption


@pytest.fixture
def other(monkeypatch):
    """Sets what process 1 sends when this process, process 0, sends a value."""
    monkeypatch.setattr(agreement, "jax", types.SimpleNamespace(process_count=lambda: 2, process_index=lambda: 0))

    def play(answer):
        monkeypatch.setattr(agreement.devices, "exchange", lambda value: [value, answer(value)])

    play(lambda value: value)
    return play


@pytest.fixture
def workdir(tmp_path):
    saved(tmp_path, 3, 5)
    return tmp_path


def restore(workdir):
    checkpoints = Checkpoints(workdir, 3)
    try:
        return checkpoints.restore_latest(state(0))
    finally:
        checkpoints.close()


def steps(workdir):
    assert not (workdir / "unreadable").exists()
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def test_the_newest_step_that_all_can_read_is_restored(workdir, other):
    found = restore(workdir)
    assert found is not None and found.step == 5
    assert_same(found.arrays, state(5))


@pytest.mark.situation("only some processes of a run can read the newest checkpoint, or find one")
@pytest.mark.parametrize("failing", [0, 1])
def test_a_step_that_one_process_cannot_read_ends_all_and_stays(workdir, other, failing):
    if failing == 0:
        truncate(workdir / "checkpoints" / "5")
        other(lambda value: None if isinstance(value, str) else value)
    else:
        other(lambda value: "it cannot be read (Input/output error)" if value is None else value)
    named = rf"^{workdir}/checkpoints/5: only process {failing} of the run cannot read it \(.+\): .* nothing was move"
    with pytest.raises(UnequalError, match=named):
        restore(workdir)
    assert steps(workdir) == ["3", "5"]


@pytest.mark.situation("only some processes of a run can read the newest checkpoint, or find one")
@pytest.mark.parametrize(("theirs", "said"), [([3], "3 in process 1"), ([], "none in process 1")])
def test_processes_that_find_different_steps_end(workdir, other, theirs, said):
    other(lambda value: theirs)
    with pytest.raises(UnequalError, match=rf"\(3, 5 in process 0, {said}\): all processes need the same --workdir"):
        restore(workdir)


def test_a_process_without_a_step_asks_the_others_before_it_starts_fresh(tmp_path, other):
    other(lambda value: [3])
    checkpoints, unused = Checkpoints(tmp_path, 3), cast(Any, types.SimpleNamespace(template=None))
    with pytest.raises(UnequalError, match=r"\(none in process 0, 3 in process 1\)"):
        resumption.resume(checkpoints, unused, config(), unused)
    checkpoints.close()


@pytest.mark.parametrize("sealed", [True, False])
def test_a_step_that_no_process_can_read_is_passed_over(workdir, other, sealed):
    """A step that was not sealed, because the power failed, shows its damage only when it is read."""
    truncate(workdir / "checkpoints" / "5")
    if not sealed:
        (workdir / "checkpoints" / "5" / "config" / "metadata").write_text("{")
        (workdir / "checkpoints" / "5" / SEAL).unlink()
    found = restore(workdir)
    assert found is not None and found.step == 3
    assert (workdir / "unreadable" / "5").is_dir()


def test_an_error_after_the_seal_was_compared_is_of_this_process_alone(workdir, other, monkeypatch):
    def fail(*args, **how):
        raise CheckpointError("a read error")

    monkeypatch.setattr(agreement.reading, "read_step", fail)
    with pytest.raises(UnequalError, match=r"5: only process 0 of the run cannot read it \(a read error\)"):
        restore(workdir)
    assert steps(workdir) == ["3", "5"]
