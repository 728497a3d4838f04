"""The suite for a GPU, here on the CPU: every item is accounted for, whatever becomes of it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import suite_summary

ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "benchmarks" / "gpu_suite.sh"
EVERYTHING = """
    vectors card step_8 step_4 sample_4 pytorch_step_tf32 levels_4 step_4_conv_fusion step_4_padded step_4_scan
    step_4_command_buffer step_8_recompute step_8_reversible encode_4 decode_4 pytorch_sample memory flow_pieces
    pytorch_step_compiled
"""


def run(out: Path, **environment: str) -> dict[str, Any]:
    """The summary of a run with little of everything, on the least config."""
    given = dict(SMALL="1", CONFIG="tests/least_config.py", OUT=str(out), PYTHON=sys.executable, JAX_PLATFORMS="cpu")
    subprocess.run(["bash", str(SUITE)], env={**os.environ, **given, **environment}, check=True, timeout=120)
    return json.loads((out / "summary.json").read_text())


def test_an_error_is_one_line():
    log = "Traceback\n  at x\njax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: out of memory\nFor simplicity, ...\n\n"
    failed = suite_summary.outcome("step", 2.5, 1, log)
    assert (failed["status"], failed["error"]) == ("failed", log.splitlines()[2])
    late = suite_summary.outcome("step", 9.0, 124, "compiling\n")
    assert (late["status"], late["error"]) == ("over its limit", "ended after 9 s; the last line: compiling")
    assert suite_summary.outcome("step", 1.0, 2, "usage: x\nunknown flag\n")["error"] == "unknown flag"
    assert suite_summary.outcome("step", 1.0, 0, "")["error"] is None


@pytest.mark.full
def test_what_the_budget_leaves_out_is_listed(tmp_path: Path):
    """45 s let the first item pass; what is not started says so, and the suite ends well."""
    summary = run(tmp_path, BUDGET="45")
    items = {item["name"]: item for item in summary["items"]}
    assert list(items) == EVERYTHING.split()
    assert items["vectors"]["status"] == "passed", items["vectors"]
    statuses = {"passed", "failed", "over its limit", "not run"}
    assert all(item["status"] in statuses for item in items.values())
    assert items["pytorch_step_compiled"]["status"] == "not run"
    assert "the budget of 45 s is spent" in items["pytorch_step_compiled"]["error"]


@pytest.mark.full
def test_chosen_items_run_and_one_that_fails_ends_nothing(tmp_path: Path):
    summary = run(tmp_path, ITEMS="card step_8 encode_4", CONFIG="tests/no_such_config.py")
    assert [(item["name"], item["status"]) for item in summary["items"]] == [
        ("card", "passed"),
        ("step_8", "failed"),
        ("encode_4", "failed"),
    ]
    assert "FileNotFoundError" in summary["items"][1]["error"]
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["copy_gigabytes_per_second"] > 0 and set(card["teraflop_per_second"]) == {"bfloat16", "tf32"}
