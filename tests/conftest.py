"""What every test needs: the CPU, programs kept compiled between runs, and `configs` within reach.

It is set before JAX is first imported. What `launch/test.sh` sets comes first.
"""

import importlib.util
import os
import signal
import sys
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hcflow_jax" / "xla"

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Nothing a test runs is worth optimising; unoptimised it compiles several times faster.
FLAGS = "--xla_backend_optimization_level=0"
if version("jaxlib").startswith("0.10."):  # later ones do not know it, and an unknown flag ends the process
    FLAGS += " --xla_cpu_use_fusion_emitters=false"
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
# Compiling is most of the suite's time: keep even the small and quick programs.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# A run in the background (`nohup`, `&` in a script) ignores these, and so would every process of a test. The tests
# say themselves which signal is ignored.
for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, default)

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# The annotations of these packages, shapes too, are checked in every call. Processes that a test starts do without.
# Like JAX's own functions, ours take arrays and numbers of NumPy as well where the annotation says Array.
CHECKED = (
    "flows",
    "nets",
    "models.hierarchy.model",
    "models.hierarchy.noise",
    "models.hierarchy.top",
    "parameters",
    "data.preprocessing",
)
if importlib.util.find_spec("beartype"):  # a machine that only runs the vectors on its GPU may not have it
    jaxtyping.Array = jaxtyping.Array | np.ndarray | np.generic
    jaxtyping.install_import_hook([f"hcflow_jax.{name}" for name in CHECKED], "beartype.beartype")

# They need the extra `peers`, which only the full tier installs; there a missing package is a failure.
NEED_PEERS = {
    "test_compare_pytorch.py",
    "test_export_torch_read.py",
    "test_flow_pieces.py",
    "test_torch_twin.py",
    "test_torch_twin_glow.py",
}

# Each file runs in one process, and processes take files in this order: the slowest first, so that all end together.
SLOWEST_FIRST = (
    "test_bijectors.py",
    "test_golden_training.py",
    "test_api.py",
    "test_golden.py",
    "test_model_interface.py",
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without the full tier's tests those files are not even imported."""
    without_full = "not full" in config.option.markexpr or config.option.markexpr == "all"
    return True if without_full and collection_path.name in NEED_PEERS else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def gcs_server() -> Any:
    """A server like Google's store. There is one for a process, because libraries keep its address."""
    from gcs_server import GcsServer

    server = GcsServer("research")
    yield server
    server.close()


@pytest.fixture
def gcs(gcs_server: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """That server with an empty bucket, `research`; libraries find it by their variables."""
    for name, value in gcs_server.environment.items():
        monkeypatch.setenv(name, value)
    gcs_server.buckets["research"].clear()
    gcs_server.faults.clear()
    gcs_server.requests.clear()
    return gcs_server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed goes to another process, which takes UTF-8 alone; names of files may be anything."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
