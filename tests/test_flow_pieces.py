"""The benchmark against distrax and flowjax: they do the same job as ours, and one that did not would be noticed."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from benchmarks import flow_pieces
from benchmarks.pieces.job import Job, weights

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # raised by the other libraries inside themselves
]
JOB = Job(length=2, resolution=8, channels=4, batch=2, condition=2, hidden=4)


def outputs(library, given):
    """Under the precision of the benchmark; each works with XLA's convolutions, so that one preset does."""
    x, cond = map(jnp.asarray, JOB.data())
    with jax.default_matmul_precision("highest"):
        work = flow_pieces.build(library, JOB, given, "gpu")
        return x, flow_pieces.outputs(work, flow_pieces.programs(work), x, cond)


@pytest.fixture(scope="module")
def ours():
    return outputs("ours", weights(JOB))


@pytest.mark.parametrize("library", [name for name in flow_pieces.LIBRARIES if name != "ours"])
def test_every_library_does_the_same_job(ours, library):
    x, right = ours
    found = flow_pieces.errors(x, right, outputs(library, weights(JOB))[1])
    assert not flow_pieces.disagreements(found)


def nudged(*path):
    """The weights with one number of one step changed by a hundredth."""
    given = weights(JOB)
    leaf: Any = given
    for key in path:
        leaf = leaf[key]
    leaf.flat[-1] += 0.01
    return given


PATHS = [("bias",), ("log_scale",), ("upper",), ("net", "join", "w"), ("net", "hidden", "b"), ("net", "out", "w")]


@pytest.mark.parametrize("path", PATHS, ids="-".join)
def test_a_wrong_weight_is_noticed(ours, path):
    x, found = outputs("ours", nudged(*path))
    wrong = flow_pieces.disagreements(flow_pieces.errors(x, ours[1], found))
    assert any(each.startswith("z ") for each in wrong)
    assert not any(each.startswith(("round_trip", "inverse_log_det")) for each in wrong)


def test_a_wrong_log_det_a_wrong_inverse_and_a_nan_are_noticed(ours):
    x, right = ours
    for name, change in [("log_det", 1.01), ("x", 1.01), ("inverse_log_det", -1.0), ("z", jnp.nan)]:
        wrong = flow_pieces.disagreements(flow_pieces.errors(x, right, {**right, name: change * right[name]}))
        assert any(each.startswith({"x": "round_trip"}.get(name, name)) for each in wrong)


def test_the_command_times_every_library(tmp_path, capsys):
    out = tmp_path / "pieces.json"
    flow_pieces.main(["--length=2", "--resolution=8", "--channels=4", "--batch=2", "--repeats=1", f"--out={out}"])
    report = json.loads(out.read_text())["lengths"]["2"]
    assert list(report) == ["ours", "distrax", "flowjax"]
    assert all(report["ours"][name]["ratio_to_ours"] == 1 for name in flow_pieces.PROGRAMS)
    assert all(each[name]["seconds"] > 0 for each in report.values() for name in flow_pieces.PROGRAMS)
    assert "| flowjax |" in capsys.readouterr().out
