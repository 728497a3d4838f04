"""Runs the compiler of a target in a process of its own. If the compiler is missing, it says what to install."""

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from hcflow_jax.config import config_to_plain
from hcflow_jax.errors import HcflowError, InputError, MissingExtraError
from hcflow_jax.planning.result import Result
from hcflow_jax.planning.targets import Target, environment

_EVERY = 30.0  # seconds between two lines of progress
_PLUGINS = {"cuda": ("jax_cuda12_plugin", "jax_cuda13_plugin"), "tpu": ("libtpu",)}
_EXTRAS = {"cuda": "cuda12", "tpu": "tpu"}


class CompileError(HcflowError):
    """The compiler ended without a result."""


def missing(target: Target) -> str:
    """What to install to compile for a target, in one line; empty if its compiler is installed."""
    if any(importlib.util.find_spec(name) for name in _PLUGINS[target.platform]):
        return ""
    extra = f"jax[{_EXTRAS[target.platform]}]=={jax.__version__}"
    return f"compiling for {target.chip} needs its compiler: pip install '{extra}'; the device itself is not needed"


def run(
    config: ConfigDict,
    target: Target,
    batch: int,
    tell: Callable[[str], object],
    program: Sequence[str] = ("-m", "hcflow_jax.planning.compile_step"),
) -> Result:
    """Compiles the training step for one device of a target. It takes minutes.

    Args:
      config: the config; see `result.for_target`.
      target: the devices.
      batch: the images of a device.
      tell: called with a line of progress every 30 seconds.
      program: the arguments of Python that start the compiler's process; tests replace them.

    Raises:
      MissingExtraError: the compiler is not installed.
      InputError: the config or the batch is not allowed.
      CompileError: the compiler failed, or was ended, for example because the machine has too little memory.
    """
    if needed := missing(target):
        raise MissingExtraError(needed)
    with tempfile.TemporaryDirectory(prefix="hcflow_plan_") as folder:
        request, out, log = (Path(folder) / name for name in ("request.json", "compiled.json", "log"))
        command = shlex.join(["hcflow", *sys.argv[1:]])
        asked = {"config": config_to_plain(config), "target": target.name, "batch": batch, "command": command}
        request.write_text(json.dumps(asked))
        what = f"compiling for {target.name} at {batch} images a device"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, *program, str(request), str(out)],
                env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, **environment(target)},
                stdout=said,
                stderr=said,
            )
            try:
                _wait(process, what, tell)
            finally:
                process.kill()
                process.wait()
        if not out.exists():
            raise CompileError(_reason(what, process.returncode, log.read_text(errors="replace")))
        values = json.loads(out.read_text())
    if "error" in values:
        raise InputError(values["error"])
    return Result(**values)


def _wait(process: subprocess.Popen, what: str, tell: Callable[[str], object]) -> None:
    start, most = time.monotonic(), 0.0
    tell(f"{what}: this takes minutes")
    while True:
        try:
            process.wait(_EVERY)
            return
        except subprocess.TimeoutExpired:
            most = max(most, _gigabytes(process.pid))
            memory = f", {most:.1f} GB of memory so far" if most else ""
            tell(f"{what}: {time.monotonic() - start:.0f} s{memory}")


def _gigabytes(pid: int) -> float:
    """The largest memory of a process until now; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0]) * 1024 / 1e9 if lines else 0.0


def _reason(what: str, status: int, log: str) -> str:
    if status == -signal.SIGKILL:
        return f"{what}: the system ended the compiler, probably because the machine has too little memory"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else "it printed nothing"
    return f"{what}: the compiler ended with status {status}: {last}"
