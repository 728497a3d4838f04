"""Accelerators that are not here: XLA compiles for them all the same, given their description.

The plugins weigh gigabytes, so each lives in an environment of its own beside the compilation cache, made the first
time it is wanted; a benchmark runs itself again inside it (`enter`).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from hcflow_jax.planning.targets import Target
from hcflow_jax.planning.targets import environment as compiler_environment

ROOT = Path(__file__).resolve().parents[1]


def enter(target: Target) -> None:
    """Goes on inside the environment that holds the target's plugin; makes it first if need be."""
    if os.environ.get("HCFLOW_ABSENT") == target.platform:
        return
    python = _environment(target.platform) / "bin" / "python"
    environment = {
        **os.environ,
        "HCFLOW_ABSENT": target.platform,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        **compiler_environment(target),
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
