"""Runs that a signal stops: amid a step, before the first, twice, in one of two processes or in both."""

import signal
import subprocess
import sys
import time

import pytest
import runs
from test_faults_processes import NEVER, STEPS, ends

pytestmark = pytest.mark.full

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
STATUS = {INT: 130, TERM: 143, HUP: 129}
LONG = "--config.train.num_steps=1000000"
IGNORING_SIGINT = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")  # as a script does that starts a job with &


def stop(processes, *numbers, pause=0.2):
    """Sends signals, each to one process or to all; gives statuses, and each process's lines on stdout and stderr."""
    for which, number in numbers:
        for process in processes if which is None else [processes[which]]:
            process.send_signal(number)
        time.sleep(pause)
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    lines = [(out.splitlines(), err.splitlines()) for out, err in outputs]
    return [process.returncode for process in processes], lines


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("stopped") / "untouched"
    statuses, errors = ends([runs.start_command(workdir, "lingering", NEVER, STEPS)])
    assert statuses == [0], errors
    return workdir


@pytest.mark.situation("SIGINT (Ctrl-C), SIGTERM or SIGHUP in training")
@pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)
def test_the_step_at_hand_is_finished_and_saved(untouched, number):
    """Lost: nothing."""
    workdir = untouched.with_name(number.name)
    process = runs.start_command(workdir, "lingering", 3, LONG)
    runs.until_held(process)
    (status,), ((out, err),) = stop([process], (None, number))
    assert (status, err) == (STATUS[number], [])
    assert out[-1] == f"{number.name}: saved step {runs.steps(workdir)[-1]}; the same command resumes there"
    statuses, errors = ends([runs.start_command(workdir, "lingering", NEVER, STEPS)])
    assert statuses == [0], errors
    runs.assert_same(workdir, untouched)


def test_a_second_ctrl_c_ends_at_once_and_harms_nothing_saved(untouched):
    """Lost: the steps since the last save."""
    workdir = untouched.with_name("twice")
    process = runs.start_command(workdir, "accumulating", 5, LONG)
    runs.until_held(process)
    (status,), ((_, err),) = stop([process], (None, INT), (None, INT))
    assert (status, err) == (130, ["stopped; everything that was saved is complete"])
    assert runs.steps(workdir)[-1] in (2, 4)
    statuses, errors = ends([runs.start_command(workdir, "lingering", NEVER, STEPS)])
    assert statuses == [0], errors
    runs.assert_same(workdir, untouched)


@pytest.mark.situation("a signal before the first step of training")
def test_before_the_first_step_one_line_and_nothing_is_saved(tmp_path):
    for number in (INT, HUP):
        process = runs.start_command(tmp_path / "run", "initialising", 0, LONG)
        runs.until_held(process)
        (status,), ((_, err),) = stop([process], (None, number))
        assert (status, err) == (STATUS[number], ["stopped; everything that was saved is complete"])
        assert not runs.steps(tmp_path / "run") and not list(tmp_path.rglob("*.partial"))


@pytest.mark.situation(
    "a signal that was ignored at the start: SIGHUP under `nohup`, SIGINT of `command &` in a script"
)
@pytest.mark.parametrize(("under", "number"), [(["nohup"], HUP), (IGNORING_SIGINT, INT)])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(tmp_path, under, number):
    process = runs.start_command(tmp_path / "run", "lingering", 3, LONG, under=under)
    runs.until_held(process)
    process.send_signal(number)
    rows = len(runs.history(tmp_path / "run"))
    while len(runs.history(tmp_path / "run")) < rows + 20:
        assert process.poll() is None
        time.sleep(0.1)
    (status,), ((out, _),) = stop([process], (None, TERM))
    assert status == 143 and out[-1].startswith("SIGTERM: saved step ")


@pytest.mark.situation("the reader of training's standard output is gone, or its terminal")
def test_training_goes_on_without_a_reader(tmp_path):
    process = runs.start_command(tmp_path / "run", "lingering", 2, STEPS)
    assert process.stdout is not None and process.stderr is not None
    runs.until_held(process)
    process.stdout.close()
    assert process.wait(120) == 0 and process.stderr.read() == ""
    process.stderr.close()
    assert runs.steps(tmp_path / "run")[-1] == 8


@pytest.mark.situation("one of several processes of a run is stopped, or all at once, or by different signals")
@pytest.mark.parametrize(
    ("sent", "status"),
    [([(1, INT)], 130), ([(None, HUP)], 129), ([(0, INT), (1, TERM)], 143)],
    ids=["one", "all", "different"],
)
def test_both_processes_finish_the_same_step_and_save(tmp_path, sent, status):
    """Lost: nothing."""
    pair = runs.start_pair(tmp_path / "run", "lingering", (5, 5), LONG)
    for process in pair:
        runs.until_held(process)
    statuses, ((out, first), (_, second)) = stop(pair, *sent, pause=0)
    assert (statuses, first + second) == ([status, status], [])
    name = signal.Signals(status - 128).name
    assert out[-1] == f"{name}: saved step {runs.steps(tmp_path / 'run')[-1]}; the same command resumes there"


def test_a_second_ctrl_c_ends_both_processes_at_once(tmp_path):
    """Lost: the steps since the last save."""
    pair = runs.start_pair(tmp_path / "run", "accumulating", (5, 5), LONG)
    for process in pair:
        runs.until_held(process)
    began = time.monotonic()
    statuses, ((_, first), (_, second)) = stop(pair, (None, INT), (None, INT))
    assert time.monotonic() - began < 30
    assert statuses == [130, 130] and first == second == ["stopped; everything that was saved is complete"]
    assert runs.steps(tmp_path / "run")[-1] in (2, 4)


@pytest.mark.situation("a signal while `hcflow sample --each` writes")
def test_pictures_that_are_whole_are_kept(tmp_path):
    command = [sys.executable, "-m", "hcflow_jax", "sample", "--count", "100000", "--each", str(tmp_path / "each")]
    process = subprocess.Popen(command, cwd=runs.HERE.parents[1], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "each").glob("*.png")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(HUP)
    assert process.communicate(timeout=60)[1] == "stopped\n" and process.returncode == 129
    assert not list((tmp_path / "each").glob(".*"))
