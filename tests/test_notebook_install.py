"""The first cell of the notebooks: it installs the package, with the extra that the machine's accelerator needs."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "colabs").glob("*.ipynb"))


def first_cell(path: Path) -> str:
    """The source of the first code cell."""
    return next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


CELL = first_cell(ROOT / "colabs" / "quickstart.ipynb")


def test_all_notebooks_have_the_same_first_cell():
    assert len(NOTEBOOKS) == 4
    assert {first_cell(path) for path in NOTEBOOKS} == {CELL}


@pytest.fixture
def machine(monkeypatch):
    """Runs the cell on a machine with a driver and with some modules; returns what it installs."""

    def run(
        driver: str = "", modules: tuple[str, ...] = (), backend: str = "cpu", repository: str = ".."
    ) -> list[str]:
        commands: list[list[str]] = []

        def answer(command, **_):
            commands.append(command)
            return subprocess.CompletedProcess(command, 0, stdout=driver)

        monkeypatch.delenv("JAX_PLATFORMS", raising=False)
        monkeypatch.setattr(subprocess, "run", answer)
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if driver else None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in ("jax", *modules) else None)
        monkeypatch.setattr(jax, "default_backend", lambda: backend)
        monkeypatch.chdir(ROOT / "colabs")
        exec(CELL.replace('REPOSITORY = ".."', f"REPOSITORY = {repository!r}"), {})
        return [command[-1] for command in commands if "pip" in command]

    return run


INSTALLED = ("hcflow_jax", "matplotlib", "tensorboard")


@pytest.mark.parametrize(
    ("driver", "modules", "backend", "extras"),
    [
        ("", (), "cpu", "pictures"),
        ("580.65.06\n", (), "gpu", "pictures,cuda13"),
        ("550.54.15\n", (), "gpu", "pictures,cuda12"),
        ("580.65.06\n", ("jax_cuda12_plugin",), "gpu", "pictures,cuda12"),  # two plugins would not work
        ("580.65.06\n", INSTALLED, "gpu", "pictures,cuda13"),  # the package is there, JAX's plugin is not
    ],
)
def test_the_extra_fits_the_accelerator(machine, driver, modules, backend, extras):
    assert machine(driver, modules, backend) == [f"{ROOT}[{extras}]"]


def test_an_address_is_installed_from(machine):
    found = machine(repository="git+https://example.org/hcflow_jax")
    assert found == ["hcflow_jax[pictures] @ git+https://example.org/hcflow_jax"]


def test_nothing_is_installed_where_all_is_there(machine):
    assert machine("", INSTALLED) == []
    assert machine("580.65.06\n", (*INSTALLED, "jax_cuda13_plugin"), "gpu") == []


def test_an_accelerator_that_jax_does_not_use_is_named(machine):
    with pytest.raises(RuntimeError, match=r"this machine has a gpu, but JAX uses the cpu: .*jax\[cuda12\]"):
        machine("550.54.15\n")


def test_an_older_jax_in_use_is_named(machine, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.0")
    with pytest.raises(RuntimeError, match="an older JAX was in use: restart the session"):
        machine()


@pytest.mark.full
def test_it_installs_from_a_clone_into_a_new_environment(tmp_path):
    clone = tmp_path / "clone"
    left_out = shutil.ignore_patterns(".git", ".venv*", "runs", "demo_out", "__pycache__", ".*_cache", "_site")
    shutil.copytree(ROOT, clone, ignore=left_out)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(clone)]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "clone"]):
        subprocess.run([*git, *command], check=True)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    cell = CELL.replace('REPOSITORY = ".."', f'REPOSITORY = "git+file://localhost{clone}"')
    then = (
        "\nimport hcflow_jax\nprint(hcflow_jax.__file__)\nfrom hcflow_jax import api\nprint(len(api.load().params))"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "XLA_FLAGS")}
    run = subprocess.run(
        [python, "-c", cell + then], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert run.returncode == 0, run.stderr[-2000:]
    lines = run.stdout.splitlines()
    assert lines[0].startswith("JAX ") and lines[1].startswith(str(tmp_path / "env")) and lines[2] == "4"
