"""Starting a victim, killing it where it stands still, and comparing what became of it with an untouched run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from hcflow_jax import checkpoint

HERE = Path(__file__).parent
PARTS = ("step", "params", "opt_state", "ema")
CLOCKED = ("seconds", "input_wait", "images_per_second", "images_per_second_per_device")


def start(workdir: Path, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """`victim.py` on a workdir, its images beside it, its programs in one cache."""
    path = f"{HERE.parent}:{HERE.parents[1]}"
    command = [sys.executable, str(HERE / "victim.py"), str(workdir), str(workdir.parent / "images")]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
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
    """What it said until it stood still."""
    assert process.stdout is not None and process.stderr is not None
    said = []
    while (line := process.stdout.readline()) != "held\n":
        assert line, process.stderr.read()
        said.append(line.rstrip())
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
    rows = [json.loads(line) for line in (workdir / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in CLOCKED} for row in rows]


def assert_same(left: Path, right: Path) -> None:
    """The same newest step, bit for bit, the same place in the data, the same history."""
    a, b = (checkpoint.load(workdir, PARTS) for workdir in (left, right))
    assert (a.step, a.metadata["next_index"]) == (b.step, b.metadata["next_index"])
    assert a.metadata["data"] == b.metadata["data"]
    assert jax.tree.structure(a.arrays) == jax.tree.structure(b.arrays)
    for one, other in zip(jax.tree.leaves(a.arrays), jax.tree.leaves(b.arrays), strict=True):
        np.testing.assert_array_equal(one, other)
    assert history(left) == history(right)
