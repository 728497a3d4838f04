"""Two processes train and evaluate as one, stop as one, and take up where they stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hcflow_jax import checkpoint

RUN = """
import itertools, pathlib, sys, types
import numpy as np
import training_fakes as fakes
from hcflow_jax.checkpoint import CheckpointError, files
from hcflow_jax.training import distributed, evaluate, loop
fakes.install()
folder, port, process = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if process >= 0:
    distributed.start(f"localhost:{port}", 2, process)
config = fakes.config(folder / f"images{process}", batch_size=8, eval_every=2, sample_every=3)
config.eval.batch_size = 8
config.train.num_steps = int(sys.argv[4])
def forever(config, **how):
    images = np.zeros((4, 8, 8, 3), np.uint8)
    for number in itertools.count():
        if number == 5:
            (folder / f"evaluating{process}").touch()
        yield {"images": images, "indices": np.arange(4), "valid": np.ones(4, bool)}
def blind(directory):
    if directory.name != "6":
        pathlib.Path(directory, "tried").touch()
    raise CheckpointError(f"{directory}: a read error")
if sys.argv[5:] == ["blind"] and process == 1:
    files.check = blind
if sys.argv[5:] == ["eval"]:
    evaluate.pipeline = types.SimpleNamespace(eval_batches=forever)
    evaluate.evaluate(folder / "run", config)
else:
    loop.train(config, folder / ("alone" if process < 0 else "run"))
"""


def _start(
    folder: Path, port: int, process: int, steps: int, *more: str, stderr: int | None = None
) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    command = [sys.executable, "-c", RUN, str(folder), str(port), str(process), str(steps), *more]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": f"{here}:{here.parent}"}, stderr=stderr)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def _history(directory: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]


@pytest.mark.full
@pytest.mark.situation("one of several processes of `--mode=eval` is stopped")
def test_two_processes_are_one_run_and_end_at_the_same_step(tmp_path):
    """With shares of every batch; the second, told to end, takes the first along, and both resume."""
    port = _free_port()
    processes = [_start(tmp_path, 0, -1, 6), *(_start(tmp_path, port, i, 6) for i in (0, 1))]
    try:
        assert [process.wait(300) for process in processes] == [0, 0, 0]
        alone, together = (_history(tmp_path / name) for name in ("alone", "run"))
        for one, other in zip(alone, together, strict=True):
            assert one["step"] == other["step"] and one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        sheets = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
        assert sheets == ["step_000003.png", "step_000006.png"]

        port = _free_port()
        processes = [_start(tmp_path, port, i, 6, "blind", stderr=subprocess.PIPE) for i in (0, 1)]
        for said in [process.communicate(timeout=300)[1].decode() for process in processes]:
            assert "checkpoints/6: only process 1 of the run cannot read it" in said, said
        assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["3", "6"]
        assert not list((tmp_path / "run").rglob("tried")) and not (tmp_path / "run" / "unreadable").exists()

        port = _free_port()
        processes = [_start(tmp_path, port, i, 1_000_000) for i in (0, 1)]
        deadline = time.monotonic() + 300
        while len(_history(tmp_path / "run")) < len(together) + 5:
            assert all(process.poll() is None for process in processes) and time.monotonic() < deadline
            time.sleep(0.1)
        processes[1].send_signal(signal.SIGTERM)
        assert [process.wait(300) for process in processes] == [143, 143]
        stopped = checkpoint.load(tmp_path / "run").step
        assert stopped > 6

        port = _free_port()
        processes = [_start(tmp_path, port, i, stopped + 2) for i in (0, 1)]
        assert [process.wait(300) for process in processes] == [0, 0]
        assert checkpoint.load(tmp_path / "run").step == stopped + 2

        port = _free_port()
        processes = [_start(tmp_path, port, i, stopped + 2, "eval") for i in (0, 1)]
        deadline = time.monotonic() + 300
        while not all((tmp_path / f"evaluating{i}").exists() for i in (0, 1)):
            assert all(process.poll() is None for process in processes) and time.monotonic() < deadline
            time.sleep(0.1)
        processes[1].send_signal(signal.SIGINT)
        assert [process.wait(300) for process in processes] == [130, 130]
        assert not (tmp_path / "run" / "eval.json").exists()
    finally:
        for process in processes:
            process.kill()
