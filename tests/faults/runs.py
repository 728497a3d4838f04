"""Starting a victim, killing it where it stands still, and comparing what became of it with an untouched run."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hcflow_jax import checkpoint

HERE = Path(__file__).parent
PARTS = ("step", "params", "opt_state", "ema")
HEARTBEAT = 20  # seconds, of several processes
LONGEST = 300  # seconds until a process stands still where it should
CLOCKED = ("seconds", "input_wait", "images_per_second", "images_per_second_per_device")


def start(workdir: Path, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """`victim.py` on a workdir, its images beside it, its programs in one cache."""
    return python("victim.py", workdir, workdir.parent / "images", *arguments, **environment)


def start_command(
    workdir: Path | str,
    point: str,
    step: int,
    *flags: str,
    process: int = 0,
    under: Sequence[str] = (),
    folder: Any = None,
) -> subprocess.Popen[str]:
    """`command.py` on a workdir, its images in a folder or beside it; `under` another command, such as nohup."""
    images = (folder or Path(workdir).parent) / f"images{process}"
    return python("command.py", images, point, step, f"--workdir={workdir}", *flags, under=under)


def start_pair(
    workdir: Path | str, point: str, steps: tuple[int, int], *flags: str, folder: Any = None
) -> list[subprocess.Popen[str]]:
    """Two processes that are one run."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        address = f"localhost:{found.getsockname()[1]}"
    shared = (*flags, f"--coordinator_address={address}", "--num_processes=2", f"--heartbeat_seconds={HEARTBEAT}")
    return [
        start_command(workdir, point, step, *shared, f"--process_id={i}", process=i, folder=folder)
        for i, step in enumerate(steps)
    ]


def python(file: str, *arguments: object, under: Sequence[str] = (), **environment: str) -> subprocess.Popen[str]:
    path = f"{HERE.parent}:{HERE.parents[1]}"
    return subprocess.Popen(
        [*under, sys.executable, str(HERE / file), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(workdir: Path, *arguments: object, **environment: str) -> tuple[int, str, str]:
    """A victim's exit status, stdout and stderr."""
    process = start(workdir, *arguments, **environment)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def until_held(process: subprocess.Popen[str]) -> list[str]:
    """What it said until it stood still; it is killed if it does not come to that."""
    assert process.stdout is not None and process.stderr is not None
    said, watch = [], threading.Timer(LONGEST, process.kill)
    watch.start()
    while (line := process.stdout.readline()) != "held\n":
        assert line, process.stderr.read()
        said.append(line.rstrip())
    watch.cancel()
    return said


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and its end."""
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def steps(workdir: Path) -> list[int]:
    """Steps that have their name."""
    there = (workdir / "checkpoints").glob("*")
    return sorted(int(path.name) for path in there if path.name.isdigit())


def history(workdir: Path) -> list[dict]:
    """The rows, but for what is measured with a clock."""
    return rows_of((workdir / "history.jsonl").read_text())


def rows_of(text: str) -> list[dict]:
    """Those of a history's text."""
    rows = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in row.items() if k not in CLOCKED} for row in rows]


def assert_equal(left: Any, right: Any) -> None:
    """Two trees, bit for bit."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(one, other)


def assert_same(left: Path, right: Path) -> None:
    """The same newest step, bit for bit, the same place in the data, the same history."""
    a, b = (checkpoint.load(workdir, PARTS) for workdir in (left, right))
    assert (a.step, a.metadata["next_index"]) == (b.step, b.metadata["next_index"])
    assert a.metadata["data"] == b.metadata["data"]
    assert_equal(a.arrays, b.arrays)
    assert history(left) == history(right)
