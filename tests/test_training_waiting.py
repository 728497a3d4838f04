"""A process that waits for the others says for whom, at which address, and for how long."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hcflow_jax.training import waiting

ROOT = Path(__file__).resolve().parents[1]


def place(monkeypatch: pytest.MonkeyPatch, address: str | None, count: int | None, process: int | None) -> None:
    """What JAX knows of the run."""
    values = {"coordinator_address": address, "num_processes": count, "process_id": process}
    for name, value in values.items():
        monkeypatch.setattr(waiting.global_state, name, value)


@pytest.fixture
def listener() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_what_is_missing_is_named(monkeypatch, listener):
    port = listener.getsockname()[1]
    place(monkeypatch, None, None, 0)
    assert waiting.missing() == "the address of process 0, from the cluster"
    place(monkeypatch, f"127.0.0.1:{port}", 4, 0)
    assert waiting.missing() == f"all of 4 processes to connect to process 0, which is this one, at 127.0.0.1:{port}"
    place(monkeypatch, f"127.0.0.1:{port}", 4, 2)
    assert waiting.missing() == f"all of 4 processes to connect to process 0 at 127.0.0.1:{port}; this is process 2"
    listener.close()
    assert waiting.missing() == f"process 0 at 127.0.0.1:{port}: nothing answers there"
    place(monkeypatch, "no-such-host.invalid:80", 4, 2)
    assert re.fullmatch(
        r"process 0 at no-such-host\.invalid:80: this machine cannot resolve the name no-such-host\.invalid \(.+\)",
        waiting.missing(),
    )


def test_it_is_said_again_and_again_until_the_others_are_there(monkeypatch, capsys):
    place(monkeypatch, "127.0.0.1:1", 2, 1)
    with waiting.told(300, every=0.02):
        time.sleep(0.5)
    lines = capsys.readouterr().err.splitlines()
    expected = r"waiting for process 0 at 127\.0\.0\.1:1: nothing answers there \(\d+ of at most 300 s\)"
    assert len(lines) > 3 and all(re.fullmatch(expected, line) for line in lines)
    time.sleep(0.1)
    assert not capsys.readouterr().err


@pytest.mark.full
@pytest.mark.situation("a process that waits for others which never come")
@pytest.mark.parametrize(
    ("host", "process", "words"),
    [
        ("no-such-host.invalid", 1, "cannot resolve the name no-such-host.invalid"),
        ("127.0.0.1", 0, "all of 2 processes to connect to process 0, which is this one"),
    ],
)
def test_a_process_without_the_others_ends_with_one_line(host, process, words):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    code = (
        "from hcflow_jax.training import distributed, waiting\n"
        "from hcflow_jax.commands import run_main\n"
        "distributed.CONNECT_SECONDS, waiting.told.__wrapped__.__defaults__ = 4, (1,)\n"
        f"run_main(lambda _: distributed.start('{host}:{port}', 2, {process}), [])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    lines = run.stderr.splitlines()
    said = [line for line in lines if line.startswith("waiting for ")]
    errors = [line for line in lines if line.startswith("error: ")]
    assert run.returncode == 2 and len(errors) == 1, run.stderr
    assert len(said) > 1 and all(words in line for line in [*said, *errors])
    assert "Check failure" not in run.stderr
