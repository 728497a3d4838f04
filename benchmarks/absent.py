"""Accelerators that are not here: XLA compiles for them all the same, given their description.

The plugins weigh gigabytes, so each lives in an environment of its own beside the compilation cache, made the first
time it is wanted; a benchmark runs itself again inside it (`enter`).
"""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.roofline import Device

ROOT = Path(__file__).resolve().parents[1]

# Bandwidth and tensor-core rates measured on such cards (the H100's bandwidth by its ratio to the H200's in the data
# sheets); float32 outside the tensor cores from the data sheet.
GPUS = {
    "h200": Device(bandwidth=4.3e12, bf16=790e12, tf32=395e12, float32=67e12),
    "h100": Device(bandwidth=3.0e12, bf16=790e12, tf32=395e12, float32=67e12),
}
# Clock of the matrix units, Hz: peak FLOP/s of the data sheet / (2 x multipliers of the chip).
TPU_CLOCKS = {"v4": 1.05e9, "v5e": 1.5e9, "v5p": 1.75e9, "v6e": 1.75e9}
_TPU_TYPES = {"v4": "v4-8", "v5e": "v5litepod-8", "v5p": "v5p-8", "v6e": "v6e-8"}


@dataclasses.dataclass(frozen=True)
class Target:
    """A device by name: h200, h100, optionally with a count ("h200:16", hosts of 8), or v5e:16x16 and the like."""

    name: str

    def __post_init__(self) -> None:
        """Refuses an unknown name."""
        if self.chip not in GPUS and (self.chip not in TPU_CLOCKS or ":" not in self.name):
            known = f"{', '.join(GPUS)} or one of {', '.join(TPU_CLOCKS)} with a topology, e.g. v5e:16x16"
            raise SystemExit(f"--target: {self.name!r} is not known; it must be {known}")

    @property
    def chip(self) -> str:
        """h200, v5e, ..."""
        return self.name.split(":")[0]

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU."""
        return self.chip in GPUS

    @property
    def platform(self) -> str:
        """What JAX calls it."""
        return "cuda" if self.is_gpu else "tpu"

    @property
    def preset(self) -> str:
        """The preset of `execution` made for it."""
        return "gpu" if self.is_gpu else "tpu"

    def devices(self) -> list[Any]:
        """Descriptions of all its devices."""
        from jax.experimental import topologies

        if not self.is_gpu:
            return topologies.get_topology_desc(platform="tpu", topology_name=self.name).devices
        count = int(self.name.partition(":")[2] or 1)
        hosts, each = (count // 8, 8) if count > 8 else (1, count)
        shape = f"{hosts}x1x{each}"
        text = (ROOT / "benchmarks" / "targets" / f"{self.chip}.txtpb").read_text()
        return topologies.get_topology_desc(
            platform="cuda", topology_name=shape, topology=shape, target_config=text
        ).devices


def enter(target: Target) -> None:
    """Goes on inside the environment that holds the target's plugin; makes it first if need be."""
    if os.environ.get("HCFLOW_ABSENT") == target.platform:
        return
    python = _environment(target.platform) / "bin" / "python"
    environment = {
        **os.environ,
        "HCFLOW_ABSENT": target.platform,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": _TPU_TYPES.get(target.chip, ""),
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["-m", spec.name] if spec else [sys.argv[0]]
    os.execve(python, [str(python), *program, *sys.argv[1:]], environment)


def _environment(platform: str) -> Path:
    """The environment with the plugin for the jax that runs here."""
    import jax

    extra = {"cuda": "cuda12", "tpu": "tpu"}[platform]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "hcflow_jax" / "plugins" / f"{platform}-{jax.__version__}"
    done = place / "complete"
    if not done.exists():
        size = "5.5 GB" if platform == "cuda" else "1.5 GB"
        print(f"making {place} with jax[{extra}] ({size}, a few minutes, once)", file=sys.stderr)
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        wanted = [f"jax[{extra}]=={jax.__version__}", str(ROOT)]
        python = str(place / "bin" / "python")
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        if uv:
            command = [uv, "pip", "install", "-q", "--python", python, *wanted]
        else:
            command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *wanted]
        subprocess.run(command, check=True)
        done.touch()
    return place
