"""The benchmarks' arithmetic, against hand-computed answers, and what they time."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from benchmarks import (
    check,
    features_for,
    flops,
    freeze,
    input_pipeline,
    kernel_profile,
    level_programs,
    step_programs,
    train_step,
)
from hcflow_jax.compiling import compile_options
from hcflow_jax.data import pipeline
from hcflow_jax.models.hierarchy import Hierarchy, build, objective

LEAST = Path(__file__).with_name("least_config.py")


def test_a_product_and_a_convolution():
    a, b = jnp.zeros((3, 5)), jnp.zeros((5, 7))
    assert flops.count(jnp.matmul, a, b) == 2 * 3 * 5 * 7

    def conv(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert flops.count(conv, jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 4))) == 2 * 2 * 8 * 8 * 4 * 27


def test_the_record_of_inceptions_features_counts_what_the_program_does():
    """The roofline's FLOPs are those of the convolutions; resizing is not among them."""
    record = json.loads((check.BASELINE.parent / "results" / "2026-11-28-h200-inception-roofline.json").read_text())
    run, (weights, images) = features_for.program(jax.make_mesh((1,), ("batch",)), 2, record["pixels"])
    done = flops.count(run, weights, images) / len(images) / 1e9
    assert done == pytest.approx(record["roofline"]["gflop_per_image"], rel=0.01)


def test_a_loop_counts_every_trip_and_a_branch_once():
    x = jnp.zeros((4, 4))

    def loop(x):
        return jax.lax.scan(lambda c, _: (c @ c, None), x, length=6)[0]

    def branch(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x @ x @ x, x)

    once = 2 * 4**3
    assert flops.count(jax.jit(loop), x) == 6 * once
    assert flops.count(branch, x) == 2 * once


def test_a_gradient_costs_twice_its_forward():
    w, x = jnp.ones((4, 4)), jnp.ones((2, 4))
    assert flops.count(jax.grad(lambda w, x: jnp.sum((x @ w) ** 2), (0, 1)), w, x) == 3 * 2 * 2 * 4 * 4


def test_the_baseline_names_what_got_worse():
    old = {"figures": {"ms": 1.0, "kernels": 100.0, "cycles": 0.0}}
    assert check.worse(old, {"figures": {"ms": 1.019, "kernels": 90.0, "cycles": 0.0}}) == []
    assert check.worse(old, {"figures": {"ms": 1.03, "kernels": 100.0, "cycles": 5.0}}) == [
        "ms: 1 -> 1.03, +3.0 %",
        "cycles: 0 -> 5",
    ]
    assert check.worse(old, {"figures": {"ms": 1.0, "cycles": 0.0}}) == ["kernels: missing"]


def test_the_baseline_holds_every_entry_as_it_would_be_measured_now():
    baseline = json.loads(check.BASELINE.read_text())
    assert {name: entry["flags"] for name, entry in baseline.items()} == {
        name: flags for name, (flags, _) in check.ENTRIES.items()
    }
    for name, (_, figures) in check.ENTRIES.items():
        assert set(baseline[name]["figures"]) == set(figures)


def test_assignments_know_switches_and_numbers():
    assert step_programs.assignments("--set", ["a=true", "b=-3", "c=scan", "d="]) == dict(
        a=True, b=-3, c="scan", d=""
    )
    with pytest.raises(SystemExit, match="--set: 'loop' is not NAME=VALUE"):
        step_programs.assignments("--set", ["loop"])


@pytest.fixture(scope="module")
def model() -> Hierarchy:
    return build.build(step_programs.load_config(LEAST))


@pytest.mark.slow
def test_a_flow_is_given_what_training_gives_it(model: Hierarchy):
    shapes, images = model.shapes(), jax.ShapeDtypeStruct((4, *model.image_shape), jnp.float32)
    cond = jax.eval_shape(lambda p, x: model.conditions(p, model.features(p, x)), shapes, images)
    gradient, (own, given, y) = level_programs.flow(model, shapes, "8", 4)
    assert (own, given, y.shape) == (shapes["flows"]["8"], cond["8"], (4, *model.level("8").shape))
    value, by = jax.eval_shape(gradient, own, given, y)
    assert value.shape == ()
    assert jax.tree.map(jnp.shape, by) == jax.tree.map(jnp.shape, (own, given))


@pytest.mark.slow
def test_the_pieces_of_a_gradient_do_its_work(model: Hierarchy):
    """Their FLOPs are those of the loss's gradient, but for inputs whose gradient it does not ask for."""
    shapes, batch = model.shapes(), 4
    x = jax.ShapeDtypeStruct((batch, *model.image_shape), jnp.float32)
    eps = jax.eval_shape(lambda key: objective.draw_noise(model, jax.random.split(key, batch)), jax.random.key(0))

    def loss(params: Any, x: Any, eps: Any) -> Any:
        return jnp.mean(objective.objective(model, params, x, eps).loss)

    whole = flops.count(jax.value_and_grad(loss), shapes, x, eps)
    parts = {}
    for name, make in level_programs.pieces(model, shapes, batch):
        gradient, arguments = make()
        parts[name] = flops.count(gradient, *arguments)
    levels = model.level_names
    assert set(parts) == {"encoder", "style_and_base"} | {f"flow:{n}" for n in levels} | {
        f"decoder:{n}" for n in levels if n != "prior"
    }
    assert whole == pytest.approx(sum(parts.values()), rel=0.02)


def test_a_trace_is_summed_by_kernel():
    def event(name: str, start: int, duration: int) -> SimpleNamespace:
        return SimpleNamespace(name=name, start_ns=start, duration_ns=duration)

    stream = SimpleNamespace(
        name="Stream #7(Compute)", events=[event("a", 0, 3_000_000), event("b", 6_000_000, 6_000_000)] * 3
    )
    again = SimpleNamespace(name="XLA Ops", events=[event("a", 0, 3_000_000)])
    gpu = SimpleNamespace(name="/device:GPU:0", lines=[stream, again])
    host = SimpleNamespace(
        name="/host:CPU", lines=[SimpleNamespace(name="python", events=[event("c", 0, 9_000_000_000)])]
    )
    found = kernel_profile.summarise(SimpleNamespace(planes=[gpu, host]), most=1)
    assert found["ms_per_call_in_kernels"] == pytest.approx(9)
    assert found["ms_per_call_from_first_to_last"] == pytest.approx(4)
    assert found["kernels_per_call"] == 2
    assert found["kernels"] == [{"name": "b", "ms_per_call": pytest.approx(6), "times_per_call": 1}]


def test_pictures_have_the_size_of_photographs():
    picture = input_pipeline.photo(0, 256)
    assert picture.shape == (256, 256, 3) and picture.std() > 30
    assert 90e3 < len(input_pipeline.encoded(picture, "PNG")) < 140e3
    assert 20e3 < len(input_pipeline.encoded(picture, "JPEG")) < 60e3


def test_the_input_is_timed_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.json"
    flags = ["--images=128", "--size=16", "--seconds=0.02", f"--out={out}"]
    input_pipeline.main(flags)
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads(out.read_text())
    assert set(result["sets"]) == {"prepared", "png", "jpeg", "zip", "lmdb"}
    for row in result["sets"].values():
        assert set(row["images_per_second"]) == {"0", "1", "2"}
        assert min(row["images_per_second"].values()) > 0 and row["kilobytes_per_image"] > 0


def test_preparing_is_timed(capsys: pytest.CaptureFixture[str]):
    input_pipeline.main(["--only=zip", "--images=4", "--size=16", "--prepare=8"])
    row = json.loads(capsys.readouterr().out)["sets"]["zip"]
    assert row["prepared_to"] == 8 and row["images_per_second"] > 0


@pytest.mark.parametrize(("slow", "waits"), [(0.0, False), (0.05, True)])
def test_a_consumer_waits_for_what_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: float, waits: bool):
    config = input_pipeline.Sets(tmp_path, 128, 16).config("png", 1)
    spread = pipeline.train_batches

    def slowed(config: Any, *, place: Any) -> Any:
        return spread(config, place=lambda batch: time.sleep(slow) or place(batch))

    monkeypatch.setattr(input_pipeline, "BATCH", 2)
    config.train.batch_size = 2
    monkeypatch.setattr(input_pipeline, "train_batches", slowed)
    found = input_pipeline.consume(config, seconds=0.4, per_second=2 / 0.04 if slow else 2 / 0.1)
    assert (found["share_waiting"] > 0.1) == waits
    assert not waits or found["longest_wait_seconds"] > 0.01
    assert found["images_per_second"] < 60  # what it takes at most, or what it is given


@pytest.mark.full
@pytest.mark.parametrize("what", [*step_programs.WHOLE, "levels"])
def test_every_program_is_timed(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.json"
    flags = [f"--config={LEAST}", "--batch=4", f"--what={what}", "--repeats=1", "--set=loop=scan", f"--out={out}"]
    flags += ["--xla-option=xla_backend_optimization_level=0"]
    train_step.main([*flags, f"--profile={tmp_path / 'profile'}"] if what == "encode" else flags)
    result = json.loads(out.read_text())
    assert result == json.loads(capsys.readouterr().out)
    assert (result["what"], result["batch"], result["loop"]) == (what, 4, "scan")
    assert result["xla_options"] == {**(compile_options() or {}), "xla_backend_optimization_level": 0}
    assert result["ms_per_image"] > 0
    if what == "encode":
        assert result["profile"]["kernels"]
        assert list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))
    if what == "levels":
        assert sum(piece["share"] for piece in result["pieces"].values()) == pytest.approx(1)


def test_the_frozen_step_is_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch):
    seconds = {"step": iter([1.0, 2.0, 4.0]), "frozen": iter([0.5, 1.8, 4.0])}
    monkeypatch.setattr(freeze, "_compiled", lambda config, what: lambda: next(seconds[what]))
    found = freeze.compare(step_programs.load_config(LEAST), pairs=3)
    assert (found["step_seconds"], found["frozen_seconds"]) == (2.0, 1.8)
    assert found["ratio"] == {"median": 0.9, "least": 0.5, "greatest": 1.0}


@pytest.mark.full
def test_both_steps_are_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.argv", ["freeze", f"--config={LEAST}", "--batch=4", "--pairs=1"])
    freeze.main()
    found = json.loads(capsys.readouterr().out)
    assert found["batch"] == 4 and found["ratio"]["median"] == found["frozen_seconds"] / found["step_seconds"]


@pytest.mark.full
def test_a_set_in_a_bucket_is_timed(tmp_path):
    flags = ["--images=5000", "--resolution=8", "--batch=8", "--latency=0.01", "--seconds=0.2", "--threads", "1", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bucket_input", *flags],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert [each["threads"] for each in found["measured"]] == [1, 2]
    assert all(each["images_per_second"] > 0 for each in found["measured"])
    assert all(each["first_batch_seconds"] > each["open_seconds"] > 2 * 0.01 for each in found["measured"])
    assert not any(tmp_path.rglob("*.array_record"))
