"""The same run on any number of devices and processes, in processes of their own.

XLA's CPU client runs every device in a thread of one pool, and a device that waits in a collective keeps its thread.
So its kernels are kept from wanting more of those: on few cores there are none left, and all would wait for ever.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.full

HERE = Path(__file__).parent
SECONDS = 1200  # of a busy machine that compiles all of it for the first time; a run that hangs ends then
ALONE = "1:1"
MESHES = ("2:2", "8:1")  # devices:micro-batches


def start(out: Path, *arguments: str, devices: int) -> subprocess.Popen[bytes]:
    flags = f"--xla_force_host_platform_device_count={devices} --xla_cpu_multi_thread_eigen=false"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{HERE}:{HERE.parent}",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}",
    }
    return subprocess.Popen([sys.executable, HERE / "scale_runs.py", out, *arguments], env=environment)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, np.ndarray]:
    """What `scale_runs` writes, "processes/..." being of two processes with a device each."""
    folder = tmp_path_factory.mktemp("runs")
    address = f"localhost:{free_port()}"
    processes = [start(folder / "one.npz", ALONE, *MESHES, devices=8)]
    processes += [start(folder / "two.npz", "2:1", address, str(i), devices=1) for i in range(2)]
    try:
        assert [process.wait(SECONDS) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
    one, two = (dict(np.load(folder / f"{name}.npz")) for name in ("one", "two"))
    return one | {name.replace("2:1", "processes"): value for name, value in two.items()}


def apart(runs: dict[str, np.ndarray], name: str, key: str) -> float:
    """The global L2 distance to the run on one device."""
    return float(np.linalg.norm(runs[f"{name}/{key}"] - runs[f"{ALONE}/{key}"]))


def tensors(runs: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The gradient by tensor."""
    cuts = np.cumsum(runs[f"{name}/sizes"])
    assert cuts[-1] == runs[f"{name}/gradient"].size
    return dict(zip(runs[f"{name}/names"].tolist(), np.split(runs[f"{name}/gradient"], cuts[:-1]), strict=True))


@pytest.mark.parametrize("name", [*MESHES, "processes"])
def test_a_run_does_not_depend_on_where_it_runs(runs, name):
    alone = {key: runs[f"{ALONE}/{key}"] for key in ("losses", "gradient", "start", "end")}
    assert apart(runs, name, "start") <= 1e-6 * np.linalg.norm(alone["start"])
    assert runs[f"{name}/losses"][0] == pytest.approx(alone["losses"][0], rel=1e-5)
    assert apart(runs, name, "gradient") <= 1e-4 * np.linalg.norm(alone["gradient"])
    # Adam divides a gradient by its own size, so that one of nothing but rounding moves a parameter all the same.
    assert apart(runs, name, "end") <= 0.03 * np.linalg.norm(alone["end"] - alone["start"])


@pytest.mark.parametrize("name", [*MESHES, "processes"])
def test_every_tensor_has_its_gradient(runs, name):
    """One that a small tensor has wrong does not show in the norm of all."""
    alone, found = tensors(runs, ALONE), tensors(runs, name)
    assert found.keys() == alone.keys() and len(alone) > 50
    whole = np.linalg.norm(runs[f"{ALONE}/gradient"])
    apart = {
        tensor: np.linalg.norm(found[tensor] - one) / (2e-3 * np.linalg.norm(one) + 1e-6 * whole)
        for tensor, one in alone.items()
    }
    assert {tensor: ratio for tensor, ratio in apart.items() if ratio > 1} == {}


def test_the_steps_learned_something(runs):
    """Else nothing above says much."""
    assert apart(runs, ALONE, "end") == 0
    assert np.linalg.norm(runs[f"{ALONE}/gradient"]) > 1
    assert np.all(np.diff(runs[f"{ALONE}/losses"]) != 0)
