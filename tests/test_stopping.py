"""SIGINT, SIGTERM and SIGHUP in a command: what each does, where, and what is as it was when the command is over."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from hcflow_jax import files, listener, stopping, streams
from hcflow_jax.commands import run_main

ROOT = Path(__file__).resolve().parents[1]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
every_signal = pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)


def send(number, then=lambda: 0):
    """A command that this signal reaches, then goes on."""

    def function(*_):
        os.kill(os.getpid(), number)
        return then()

    return function


def handlers():
    return [signal.getsignal(number) for number in STATUS]


@every_signal
@pytest.mark.situation(
    "SIGINT (Ctrl-C), SIGTERM or SIGHUP in `hcflow`, `data.prepare`, `interop`, `main --mode=eval`"
)
def test_a_signal_is_one_line_and_its_status_and_nothing_is_half_written(number, tmp_path, capsys):
    before = handlers()

    def write(argv):
        with files.replacing(tmp_path / "whole") as partial:
            partial.write_text("whole")
        with files.replacing(tmp_path / "half") as partial:
            partial.write_text("half")
            os.kill(os.getpid(), number)
        raise AssertionError("the signal was not heard")

    assert run_main(write, [], stopped="it goes on") == STATUS[number]
    assert capsys.readouterr().err == "it goes on\n"
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
    assert handlers() == before


@every_signal
def test_what_fails_because_of_a_signal_is_no_error_of_its_own(number, capsys):
    def fail(argv):
        try:
            os.kill(os.getpid(), number)
        except BaseException as stop:
            raise OSError("ffmpeg was ended too") from stop
        return 0

    assert run_main(fail, []) == STATUS[number]
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.situation("Ctrl-C in Python code that calls the API, trains or calls a command")
def test_for_python_code_sigint_is_a_keyboard_interrupt_that_ends_scripts_silently():
    noted = []
    with pytest.raises(KeyboardInterrupt), stopping.noted(noted.append):  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        assert noted == [signal.SIGINT]
        raise stopping.stopped(noted[0])
    assert issubclass(listener.StoppedByKey, SystemExit) and stopping.stopped(signal.SIGINT).code == 130
    assert not isinstance(stopping.stopped(signal.SIGTERM), KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):  # outside a command nothing listens
        os.kill(os.getpid(), signal.SIGINT)


def test_only_a_second_sigint_breaks_off_what_the_first_signal_asked_for():
    noted = []
    with stopping.noted(noted.append):
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGINT):
            os.kill(os.getpid(), number)  # the two SIGINTs come together: one, sent to the process and its group
        assert noted == [signal.SIGTERM]
        time.sleep(2 * listener.TWICE)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_what_was_ignored_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert run_main(send(number, lambda: 5), []) == 5
        noted = []
        with stopping.noted(noted.append):
            os.kill(os.getpid(), number)
        assert noted == [] and signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_training_hears_sigterm_even_if_it_was_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert run_main(send(signal.SIGTERM, lambda: 5), []) == 5
        noted = []
        with stopping.noted(noted.append):
            os.kill(os.getpid(), signal.SIGTERM)
        assert noted == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.situation("a command or training in a thread other than the main one")
def test_in_another_thread_no_handler_is_set():
    before, seen, status = handlers(), [], []

    def look(argv):
        with stopping.noted(seen.append):
            seen.append(handlers())
        return 3

    thread = threading.Thread(target=lambda: status.append(run_main(look, [])))
    thread.start()
    thread.join()
    assert seen == [before] and status == [3]


def test_processes_started_while_signals_are_withheld_never_get_them():
    code = "import signal; print(*sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    with stopping.withheld():
        made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.split() == [str(int(number)) for number in sorted(STATUS)]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_reader_that_is_gone_is_told_by_the_status_alone(capfd):
    def write(argv):
        raise BrokenPipeError(32, "Broken pipe")

    assert run_main(write, []) == 141
    assert capfd.readouterr().err == ""


def test_a_line_that_nobody_can_read_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        streams.say("line", stream)
        streams.say("another", stream)
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left"), open("/dev/full", "w") as stream:
            streams.say("line", stream)
    streams.say("line", None)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from hcflow_jax import listener, stopping
listener.STUCK = 0.5

def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)

class Finalized:
    def __del__(self):
        send(signal.SIGTERM)

def stuck():
    "As in compiled code: what the system would wake is masked, so that no handler runs."
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    stopping.unfinished.add(Path("half"))
    Path("half").write_text("")
    send()
    time.sleep(60)

def finalizer():
    Finalized()
    time.sleep(60)

def importing():
    Path("module_that_imports.py").write_text(
        "import os, signal\\ntry: os.kill(os.getpid(), signal.SIGHUP)\\nfinally: print('unwound')")
    sys.path.insert(0, "")
    import module_that_imports

def lingering():
    try:
        send()
    finally:
        time.sleep(0.2)
        send()
        time.sleep(60)

def noted():
    with stopping.noted(print):
        send()
        time.sleep(0.2)
        send(signal.SIGTERM)
        send()
        time.sleep(60)

def at_the_end():
    import atexit
    atexit.register(send)
    return 0

def broken():
    print("line")
    return 0

if __name__ == "__main__":
    sys.exit(stopping.run(globals()[sys.argv[1]], "the line", owns=True))
"""


@pytest.mark.full
@pytest.mark.parametrize(
    ("where", "status"),
    [
        ("stuck", 130),
        pytest.param(
            "importing", 129, marks=pytest.mark.situation("a signal while packages are imported or programs compiled")
        ),
        ("finalizer", 143),
        pytest.param("lingering", 130, marks=pytest.mark.situation("a second Ctrl-C")),
        ("noted", 130),
        ("at_the_end", 130),
    ],
)
def test_a_commands_own_process_is_ended_at_once_where_it_cannot_end_in_order(where, status, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", where]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (status, "the line\n")
    assert done.stdout == {"noted": "2\n"}.get(where, "")
    assert not (tmp_path / "half").exists()


@pytest.mark.full
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        pytest.param(
            "{python} -m hcflow_jax --help | true",
            141,
            "",
            marks=pytest.mark.situation(
                "standard output is a pipe whose reader is gone: `hcflow report \\| head -1`"
            ),
        ),
        ("{python} -m hcflow_jax.config | true", 141, ""),
        ("{python} -m hcflow_jax.data.prepare --help | true", 141, ""),
        ("{python} -m hcflow_jax.main --help | true", 141, ""),
        pytest.param(
            "{python} -m hcflow_jax --help >/dev/full",
            2,
            "error: the output could not be written (No space left on device)\n",
            marks=pytest.mark.situation("output goes to a full disk, or to a closed stream"),
        ),
        ("{python} -m hcflow_jax --help >&-", 0, ""),
        ("{python} -m hcflow_jax paint >&- 2>&-", 2, ""),
        ("{python} -m hcflow_jax.config <&- >/dev/null", 0, ""),
    ],
)
def test_standard_output_that_takes_nothing(command, status, said, tmp_path):
    line = f"{command.format(python=sys.executable)}; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, said), textwrap.shorten(done.stderr, 300)


@pytest.mark.full
def test_a_module_that_is_still_being_looked_for_ends_with_a_line(tmp_path):
    """`python -m` imports the packages above a command before the command itself."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "hcflow_jax.data.prepare", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "stopped\n")
