"""The tiers of tests: what `launch/test.sh` and `.ci/run` start, with stand-ins for installing and for pytest."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FAST = "not slow and not full and not all"
FULL = "(slow or full) and not all"
ELSEWHERE = "not full and not all"

# In the place of `.venv/bin/python` and `launch/checks.sh`: writes down how it was called; pytest fails if told to.
PYTHON = """#!/usr/bin/env bash
printf '%s\\n' "${0#"$TOP"/} x64=${JAX_ENABLE_X64:-0} $*" >>"$TOP/calls"
case "$0 $*" in *"$FAILS"*) exit 1 ;; esac
"""

# After `_env.sh`: nothing is installed, and of Python's releases only 3.13 is there.
STUBS = """
ensure_env() {
  local place="into"
  mkdir "$VENV" 2>/dev/null && place="into a new"
  mkdir -p "$VENV/bin"
  cp "$TOP/python" "$PY"
  echo "install $1 $place $VENV_NAME" >>"$TOP/calls"
}
ensure_browser() { echo browser >>"$TOP/calls"; [ "$FAILS" != browser ]; }
ensure_slurm() { echo slurm >>"$TOP/calls"; [ "$FAILS" != slurm ]; }
find_release() { [ "$1" = 3.13 ] && echo python3.13; }
"""


@pytest.fixture
def start(tmp_path):
    """Runs a script of a copy of the scripts: (status, calls, stderr)."""
    top = tmp_path / "top"
    for name in ("launch", ".ci"):
        shutil.copytree(ROOT / name, top / name)
    with (top / "launch" / "_env.sh").open("a") as file:
        file.write(STUBS)
    for place in (top / "python", top / "launch" / "checks.sh"):
        place.write_text(PYTHON)
        place.chmod(0o755)

    def run(script: str, *arguments: str, fails: str = "never"):
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "JAX_ENABLE_X64")}
        environment |= {"TOP": str(top), "FAILS": fails, "TMPDIR": str(tmp_path)}
        command = ["bash", str(top / script), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, (top / "calls").read_text().splitlines(), done.stderr

    return run


def test_the_fast_tier_needs_dev_alone(start):
    status, calls, said = start("launch/test.sh")
    assert status == 0 and "all passed" in said
    assert calls[0] == "install dev into a new .venv"
    assert calls[1].startswith("launch/checks.sh")
    assert f"-m pytest --durations=15 -m {FAST} -n " in calls[2] and "--dist=loadfile" in calls[2]
    assert len(calls) == 3


def test_the_full_tier_repeats_no_test_of_the_fast_one(start):
    status, calls, _ = start("launch/test.sh", "--full")
    assert status == 0
    assert calls[:3] == [
        "install dev into a new .venv",
        "install peers,browser,docs,pictures,gcs,s3 into .venv",
        "browser",
    ]
    assert calls[3].endswith(" pyright")
    assert f" -m {FULL} -n " in calls[4]
    assert len(calls) == 5


def test_the_full_tier_fails_without_a_browser_and_runs_the_rest(start):
    status, calls, said = start("launch/test.sh", "--full", fails="browser")
    assert status == 1 and said.count("FAILED: Chromium for the tests of the explorer") == 2
    assert f" -m {FULL} -n " in calls[4]


def test_a_missing_python_fails_and_the_rest_is_run(start):
    status, calls, said = start("launch/test.sh", "--all")
    assert status == 1
    assert said.count("FAILED: tests on Python 3.12") == 2 and "no Python 3.12" in said
    assert calls[1:3] == ["install stores into .venv", "slurm"] and " -m all " in calls[3]
    assert "x64=1" in calls[4] and f"-m {ELSEWHERE} tests/test_" in calls[4]
    assert calls[5] == "install dev into a new .venv-3.13"
    assert calls[6].startswith(".venv-3.13/bin/python x64=0") and f"-m {ELSEWHERE} -n" in calls[6]


def test_arguments_of_ones_own_run_in_one_process(start):
    _, calls, _ = start("launch/test.sh", "tests/test_x.py", "-k", "y")
    assert calls[-1].endswith(f"-m {FAST} tests/test_x.py -k y")


@pytest.mark.parametrize("part, name", [("launch/checks.sh", "checks"), ("-m pytest", "tests of the fast tier")])
def test_what_fails_is_named_and_ends_nothing(start, part, name):
    status, calls, said = start("launch/test.sh", fails=part)
    assert status == 1 and "all passed" not in said
    assert said.splitlines()[-1] == f"== FAILED: {name}"
    assert len(calls) == 3


def test_ci_starts_with_what_the_readme_says_in_a_place_without_environment(start, tmp_path):
    assert "\n    bash launch/test.sh " in (ROOT / "README.md").read_text()
    old = tmp_path / "top" / ".venv"
    old.mkdir()
    (old / "old").touch()
    status, calls, _ = start(".ci/run")
    assert status == 0
    installed = [call for call in calls if call.startswith("install")]
    assert installed == [
        "install dev into a new .venv",
        "install dev into .venv",
        "install peers,browser,docs,pictures,gcs,s3 into .venv",
    ]
    assert [path.name for path in old.iterdir()] == ["old"]  # it was neither used nor touched
    assert [path.name for path in tmp_path.iterdir()] == ["top"]  # and the copy is gone


def test_ci_runs_the_full_tier_even_after_a_failure_and_fails(start):
    status, calls, _ = start(".ci/run", fails=FAST)
    assert status == 1
    assert any(f" -m {FULL} " in call for call in calls)
