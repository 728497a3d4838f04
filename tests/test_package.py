"""The package as a whole: what it declares, that it imports without its extras, its files and its scripts."""

import ast
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("hcflow_jax", "configs", "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
)
SCRIPTS = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("launch/*.sh"), ROOT / ".ci/run"])
LONGEST_FILE = 300  # lines

# Imports every module while the packages of the extras cannot be found, and prints those that fail.
IMPORT_ALL = """
import importlib, pkgutil, sys, traceback
for name in ("dicebear", "dicebear_core", "dicebear_styles", "imageio_ffmpeg", "matplotlib", "nicegui", "playwright",
             "resvg_py", "tensorboard", "tensorflow", "torch"):
    sys.modules[name] = None
import hcflow_jax
failed = 0
for module in pkgutil.walk_packages(hcflow_jax.__path__, "hcflow_jax."):
    try:
        importlib.import_module(module.name)
    except Exception:
        failed += 1
        traceback.print_exc()
sys.exit(failed > 0)
"""


def test_version_is_the_declared_one():
    assert importlib.metadata.version("hcflow_jax") == PROJECT["version"]


def test_extras_exist():
    expected = {
        "demo",
        "pictures",
        "eval",
        "tfds",
        "cuda12",
        "cuda13",
        "tpu",
        "peers",
        "docs",
        "dev",
        "explore",
        "browser",
    }
    assert expected <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("heavy", ["tensorflow-cpu", "torch", "matplotlib", "tensorboard"])
def test_core_stays_small(heavy):
    assert not [line for line in PROJECT["dependencies"] if line.startswith((f"{heavy}>", f"{heavy}="))]


def test_every_module_imports_without_the_extras():
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SOURCES)
def test_file_says_what_it_is_and_is_short(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{name} needs a module docstring"
    assert len(text.splitlines()) <= LONGEST_FILE, f"{name} is longer than {LONGEST_FILE} lines: split it"


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_valid_bash(name):
    subprocess.run(["bash", "-n", str(ROOT / name)], check=True)


@pytest.mark.parametrize("script", ["test.sh", "demo.sh"])
def test_old_python_is_refused_in_one_line(script, tmp_path):
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    fakes = tmp_path / "bin"
    fakes.mkdir()
    for name in ("python3", "python3.12", "python3.11"):
        fake = fakes / name
        fake.write_text('#!/bin/sh\ncase "$2" in *version_info*) exit 1 ;; *) echo "Python 3.8.1" ;; esac\n')
        fake.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "WORKDIR")}
    environment["PATH"] = f"{fakes}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(tmp_path / "launch" / script)], env=environment, capture_output=True, text=True
    )
    errors = [line for line in done.stderr.splitlines() if not line.startswith("== ")]
    assert done.returncode != 0
    assert len(errors) == 1, done.stderr
    assert "Python 3.8.1" in errors[0] and "3.11 or newer" in errors[0]
