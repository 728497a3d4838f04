"""Planning: targets, the arithmetic of a run's cost, kept results, and the compiler's process."""

import json
import re
import sys
from pathlib import Path

import jax
import least_config
import numpy as np
import plan_results
import pytest
import toy_family

from benchmarks import plan_results as plan_reports
from hcflow_jax import config as schema
from hcflow_jax import models
from hcflow_jax.commands import UsageError
from hcflow_jax.config import ConfigError, presets, registry
from hcflow_jax.devices import in_a_row
from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.planning import changes, compiled, compiler, costs, hlo, kept, programs, result, roofline
from hcflow_jax.planning.targets import CHIPS, Target

H200 = Target("h200")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("given", "name", "size", "preset", "gigabytes_per_second"),
    [
        ("h200", "h200", 1, "gpu", 450),
        ("h200x8", "h200:8", 8, "gpu", 450),
        ("h200:8", "h200:8", 8, "gpu", 450),
        ("h200:16", "h200:2x8", 16, "gpu", 400),
        ("h200x2x8", "h200:2x8", 16, "gpu", 400),
        ("h100:3x4", "h100:3x4", 12, "gpu", 200),
        ("h100:5x1", "h100:5x1", 5, "gpu", 50),
        ("v5e:16x16", "v5e:16x16", 256, "tpu", 200),
        ("v4:2x2x2", "v4:2x2x2", 8, "tpu", 300),
    ],
)
def test_targets_by_name(given, name, size, preset, gigabytes_per_second):
    target = Target(given)
    assert (target.name, target.size, target.preset) == (name, size, preset)
    assert target.rate == 1e9 * gigabytes_per_second
    assert Target(target.name).size == size


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("h300", "'h300' is not known; it must be one of h200, h100, v4, v5e, v5p, v6e, such as"),
        ("v9x:2x2", "is not known"),
        ("", "is not known"),
        ("v5e", "v5e needs a topology"),
        ("v5e:8", "v5e needs a topology"),
        ("h2008", "h200 needs a number of devices"),
        ("h200:two", "h200 needs a number of devices"),
        ("h200:0", "has no devices"),
        ("v5e:0x4", "has no devices"),
        ("h200:12", "hosts have 8 GPUs; write HOSTSxGPUS"),
    ],
)
def test_an_unknown_target_is_named(given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Target(given)


def test_the_description_of_each_gpu_is_in_the_package():
    folder = Path(compiled.__file__).parent / "devices"
    assert sorted(path.stem for path in folder.glob("*.txtpb")) == sorted(roofline.GPUS) == ["h100", "h200"]


def test_the_cost_on_one_device():
    cost = costs.Cost(H200, plan_results.MADE, images=3_600_000, price=2.0)
    assert cost.memory == {"state": 400, "images": 600, "activations": 9_000}
    assert sum(cost.memory.values()) == cost.total == 10_000
    assert cost.usable == pytest.approx(0.92 * 141e9) and cost.fits
    assert cost.computing == pytest.approx(0.020) and cost.sending == 0 and cost.step == cost.computing
    assert cost.images_per_second == pytest.approx(400)
    assert cost.hours == pytest.approx(2.5) and cost.device_hours == pytest.approx(2.5)
    assert cost.total_price == pytest.approx(5.0)
    assert costs.Cost(H200, plan_results.MADE, images=1).total_price is None


def test_the_cost_on_eight_devices():
    cost = costs.Cost(Target("h200:8"), plan_results.several("h200:8", 8), images=3_600_000, price=2.0)
    assert cost.sent == 2 * 7 / 8 * 450e6
    assert cost.sending == pytest.approx(2 * 7 / 8 * 450e6 / 450e9)
    assert cost.step == pytest.approx(0.020 + 0.00175)
    assert cost.batch == 64 and cost.images_per_second == pytest.approx(64 / 0.02175)
    assert cost.device_hours == pytest.approx(8 * cost.hours)
    assert cost.hours == pytest.approx(3_600_000 * 0.02175 / 64 / 3600)
    assert cost.total_price == pytest.approx(2 * cost.device_hours)


def test_a_step_that_is_too_large_does_not_fit():
    usable = int(0.92 * CHIPS["h200"].memory)
    for more, fits in ((0, True), (1, False)):
        memory = {"arguments": 1_000, "temporaries": usable - 1_000 + more, "outputs": 0}
        assert costs.Cost(H200, plan_results.made(memory_bytes=memory), images=1).fits is fits


def test_a_cost_is_json_and_tells_where_it_is_from():
    cost = costs.Cost(Target("h200:2x8"), plan_results.several("h200:8", 8), images=1_000)
    plain = json.loads(json.dumps(costs.plain(cost), allow_nan=False))
    assert plain["step_ms"]["step"] == pytest.approx(plain["step_ms"]["computing"] + plain["step_ms"]["sending"])
    assert plain["target"] == "h200:2x8" and plain["compiled"]["target"] == "h200:8"
    assert plain["compiled"]["command"] == "a command" and plain["link_bytes_per_second"] == 400e9
    assert plain["memory_bytes"]["free"] == plain["memory_bytes"]["usable"] - 10_000


@pytest.fixture
def toy(monkeypatch):
    """The config of a model that is traced quickly."""
    monkeypatch.setitem(registry._modules, toy_family.NAME, "toy_family")
    config = schema.default(family=toy_family.NAME)
    config.data.resolution = 4
    return config


def test_a_gpus_result_comes_from_its_roofline(toy):
    target = Target("h200:8")
    config = result.for_target(toy, target, 8)
    report = {
        "roofline": {"ms_per_image": 2.0, "by_kind": {"collective": {"ms_per_image": 0.5}}},
        "memory_gigabytes": {"arguments": 0.3, "temporaries": 1.123456789, "outputs": 0.0},
        "all_reduces": {"number": 3, "megabytes": 1.5},
    }
    found = result.from_report(config, target, 8, report, "a command", "2026-11-29")
    assert found.ms_per_image == 1.5  # the time of the all-reduces is that of the link
    assert found.memory_bytes == {"arguments": 300_000_000, "temporaries": 1_123_456_789, "outputs": 0}
    assert found.collectives == {"number": 3, "bytes": 1_500_000} and found.devices == 8
    assert found.image_bytes == 8 * 4 * 4 * 3
    count = sum(leaf.size for leaf in jax.tree.leaves(models.build(toy).shapes()))
    assert found.state_bytes["parameters"] == found.state_bytes["EMA"] == 4 * count
    assert 8 * count <= found.state_bytes["optimizer"] < 8 * count + 100  # two moments, and counts
    tpu = result.from_report(config, Target("v5e:2x2"), 8, {**report, "ms_per_image": 7.0}, "a command")
    assert (tpu.ms_per_image, tpu.model_of_time, tpu.devices) == (7.0, "cycles", 4)


def test_the_programs_are_those_of_a_run(toy):
    config = result.for_target(toy, H200, 8)
    mesh = in_a_row(jax.devices()[:1])
    step, arguments = programs.whole(config, "train", mesh)
    state, images, _ = arguments
    assert images.shape == (8, 4, 4, 3) and images.dtype == np.uint8
    new, metrics = jax.eval_shape(step, *arguments)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), new) == jax.tree.map(lambda a: (a.shape, a.dtype), state)
    assert "bits_per_dim" in metrics
    decode, arguments = programs.whole(config, "sample", mesh)
    assert jax.eval_shape(decode, *arguments).shape == (8, 4, 4, 3)


def test_what_decides_the_program():
    config = least_config.get_config()
    own = result.program_of(result.for_target(config, H200, 8))
    assert own["execution.dtype"] == "bfloat16" and own["execution.loop"] == "unroll"
    for text, same in (
        ("seed=3", True),
        ("train.num_steps=7", True),
        ("train.accumulate=2", False),
        ("model.levels.r16.hidden=16", False),
        ("execution.backward=recompute", False),
    ):
        name, _, value = text.partition("=")
        changed = changes.apply(config, [(name, value)])
        assert (result.program_of(result.for_target(changed, H200, 8)) == own) is same, text
    assert result.program_of(result.for_target(config, H200, 8, "float32")) != own
    assert result.program_of(result.for_target(config, Target("v5e:2x2"), 8)) != own
    assert config.execution.preset == "auto"


def test_the_batch_of_a_device():
    config = changes.apply(least_config.get_config(), [("train.accumulate", "2")])
    result.check_batch(config, H200, 16)
    with pytest.raises(
        ConfigError, match="--batch-per-device 12: must be a multiple of 8, the model's batch unit times"
    ):
        result.check_batch(config, H200, 12)


def test_fields_are_changed_by_text():
    config = least_config.get_config()
    given = [("model.levels.r16.hidden", "16"), ("train.clip_norm", "3"), ("data.flip", "false"), ("data.name", "5")]
    made = changes.apply(config, given)
    assert made.model.levels.r16.hidden == 16 and made.train.clip_norm == 3.0
    assert made.data.flip is False and made.data.name == "5"
    assert config.model.levels.r16.hidden == 8
    for path in ("train.size", "train", "seed.x", "a.b.c"):
        with pytest.raises(ConfigError, match=f"--set {path}: the config has no such field"):
            changes.apply(config, [(path, "1")])
    with pytest.raises(ConfigError, match="--set train.num_steps=many: the field is of type int"):
        changes.apply(config, [("train.num_steps", "many")])


def test_a_kept_result_is_found_by_program_target_and_batch():
    config = least_config.get_config()
    one = plan_results.made()
    kept.keep(result.for_target(config, H200, 8), one)

    def find(target=H200, batch=8, precision=None, changed=()):
        given = changes.apply(config, changed)
        return kept.find(result.for_target(given, target, batch, precision), target, batch)

    assert find() == one
    assert find(changed=[("seed", "5")]) == one
    assert find(batch=16) is None
    assert find(precision="float32") is None
    assert find(target=Target("h200:8")) is None
    assert find(changed=[("model.levels.r16.hidden", "16")]) is None


def test_a_result_of_several_gpus_is_one_for_any_number_of_them(tmp_path, monkeypatch):
    config = least_config.get_config()
    monkeypatch.setattr(kept, "_PACKAGE", tmp_path)
    results = [plan_results.made(), plan_results.several("h200:2x8", 16), plan_results.several("h200:8", 8)]
    kept.write(tmp_path / "a.json", config, results)

    def find(name):
        found = kept.find(result.for_target(config, Target(name), 8), Target(name), 8)
        return found and found.target

    names = ("h200", "h200:8", "h200:2x8", "h200:32x8", "h200:2", "h100", "h100:8", "v5e:2x2")
    assert kept.find(result.for_target(config, H200, 16), H200, 16) is None
    assert [find(name) for name in names] == ["h200", "h200:8", "h200:2x8", "h200:8", "h200:8", None, None, None]


def test_a_damaged_result_of_the_user_is_as_if_it_were_not_there():
    config = result.for_target(least_config.get_config(), H200, 8)
    kept.keep(config, plan_results.made())
    path = kept._user_file(config, H200, 8)
    assert path is not None and path.is_file()
    for text in ("{", '{"config": {}}', "[]"):
        path.write_text(text)
        assert kept.find(config, H200, 8) is None


def test_the_packages_results_are_of_configuration_a():
    config = presets.config("celebahq_a")
    for name, batch in (("h200", 16), ("h200", 64)):
        target = Target(name)
        found = kept.find(result.for_target(config, target, batch), target, batch)
        assert found is not None, (name, batch)
        assert found.state_bytes["parameters"] == found.state_bytes["EMA"] == 4 * 77_118_712
        assert found.command.startswith("python -m benchmarks.compile_for --target h200")
        # All-reduces are the gradients and a few metrics.
        summed = found.collectives["bytes"] / found.state_bytes["parameters"]
        assert summed == 0 if target.size == 1 else 1 <= summed < 1.001
        other = result.for_target(presets.config("ffhq_a"), target, batch)
        assert kept.find(other, target, batch) == found  # another data set, and the same program
        assert sum(found.memory_bytes.values()) > sum(found.state_bytes.values()) + found.image_bytes


def test_the_packages_results_are_made_of_reports(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan_reports.presets, "read", lambda given: toy)
    report = {
        "config": "toy.py",
        "target": "h200:8",
        "batch_per_device": 8,
        "program": "train",
        "model": {},
        "execution": result.resolve_execution(result.for_target(toy, H200, 8).execution),
        "jax": "0.0.1",
        "roofline": {"ms_per_image": 2.0, "by_kind": {"collective": {"ms_per_image": 0.5}}},
        "memory_gigabytes": {"arguments": 0.3, "temporaries": 1.0, "outputs": 0.0},
        "all_reduces": {"number": 3, "megabytes": 1.5},
    }
    out = tmp_path / "toy.json"

    def make(**changed):
        path = tmp_path / "report.json"
        path.write_text(json.dumps({**report, **changed}))
        return plan_reports._run([str(path), "--out", str(out)])

    for changed in ({}, {"target": "h200"}, {"jax": "0.0.2"}):
        assert make(**changed) == 0
    made = {each.target: each for _, each in kept._read(out)}
    assert set(made) == {"h200", "h200:8"} and made["h200:8"].jax == "0.0.2" and made["h200"].jax == "0.0.1"
    assert made["h200"].command.endswith("--target h200 --config toy.py --batch 8 --precision bfloat16")
    for changed in ({"program": "frozen"}, {"model": {"steps": 3}}, {"execution": {"dtype": "bfloat16"}}):
        with pytest.raises(UsageError, match="is not of a training step with the fields of toy.py alone"):
            make(**changed)


ALLOCATIONS = """BufferAssignment:
allocation 0: size 400, parameter 0, shape |f32[100]| at ShapeIndex {} maybe-live-out:
allocation 1: size 64, parameter 1, shape |u8[64]|:
 value: <1 x @0> (size=64,offset=0): u8[64]
allocation 2: size 12, maybe-live-out:
allocation 3: size 9000, preallocated-temp:
allocation 4: size 4, thread-local:
allocation 5: size 8, constant:
"""


def test_sizes_are_read_from_the_buffer_assignment():
    assert compiled.sizes(ALLOCATIONS) == {"arguments": 464, "temporaries": 9_000, "outputs": 12}


TPU = """HloModule step, is_scheduled=true

%body (s: (s32[], f32[4])) -> (s32[], f32[4]) {
  %s = (s32[], f32[4]) parameter(0)
  %x = f32[4] get-tuple-element(%s), index=1
  %i = s32[] get-tuple-element(%s), index=0
  %work = f32[4] fusion(%x), kind=kLoop, calls=%add, backend_config={"estimated_cycles":"1500"}
  ROOT %next = (s32[], f32[4]) tuple(%i, %work)
}

ENTRY %main (a: (s32[], f32[4])) -> f32[1000] {
  %a = (s32[], f32[4]) parameter(0)
  %loop = (s32[], f32[4]) while(%a), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"10"}}
  %g = f32[1000] fusion(%loop), kind=kLoop, calls=%add, backend_config={"estimated_cycles":"3000"}
  ROOT %sum = f32[1000] all-reduce(%g), replica_groups={{0,1}}, to_apply=%add
}
"""


def test_a_tpus_report_is_its_cycles():
    program = compiled.Compiled(TPU, {"arguments": 10**9, "temporaries": 0, "outputs": 0}, {}, {})
    found = compiled.report(Target("v5e:1x2"), program, batch=4)
    assert found["ms_per_image"] == pytest.approx(1e3 * (10 * 1500 + 3000) / 1.5e9 / 4)
    assert found["all_reduces"] == {"number": 1, "megabytes": 0.004}
    assert found["memory_gigabytes"]["arguments"] == 1.0
    assert len(list(hlo.parse(TPU).scheduled())) == 9


CHILD = """
import dataclasses, json, sys
from pathlib import Path
request, out = map(Path, sys.argv[-2:])
what, asked = sys.argv[1], json.loads(request.read_text())
if what == "killed":
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
if what == "broken":
    sys.exit("first line\\nthe reason")
values = {"error": "--batch-per-device 3: no"}
if what == "good":
    import os
    values = json.loads(sys.argv[2]) | {
        "batch_per_device": asked["batch"], "command": os.environ["JAX_PLATFORMS"], "date": asked["target"]
    }
out.write_text(json.dumps(values))
"""


@pytest.fixture
def compile_with(tmp_path, monkeypatch):
    """Runs a child in place of the compiler's process."""
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    monkeypatch.setattr(compiler, "missing", lambda target: "")
    values = json.dumps(vars(plan_results.MADE))
    told = []

    def run(what):
        config = result.for_target(least_config.get_config(), H200, 8)
        return compiler.run(config, H200, 8, told.append, program=(str(program), what, values))

    run.told = told
    return run


def test_the_compilers_process_gives_a_result(compile_with, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")  # the process takes no device that is here
    assert compile_with("good") == plan_results.made(command="cpu", date="h200")
    assert compile_with.told[0] == "compiling for h200 at 8 images a device: this takes minutes"


def test_a_compiler_that_fails_is_one_line(compile_with):
    with pytest.raises(compiler.CompileError, match="ended the compiler, probably because .* too little memory"):
        compile_with("killed")
    with pytest.raises(compiler.CompileError, match="the compiler ended with status 1: the reason"):
        compile_with("broken")
    with pytest.raises(InputError, match="--batch-per-device 3: no"):
        compile_with("refused")


@pytest.mark.parametrize(("name", "extra"), [("h200:8", "jax[cuda12]=="), ("v5e:2x2", "jax[tpu]==")])
def test_a_compiler_that_is_missing_is_named(monkeypatch, name, extra):
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda module: None)
    assert f"pip install '{extra}" in compiler.missing(Target(name))
    with pytest.raises(MissingExtraError, match="needs its compiler"):
        compiler.run(least_config.get_config(), Target(name), 8, print)
    monkeypatch.setattr(
        compiler.importlib.util, "find_spec", lambda module: module in ("libtpu", "jax_cuda13_plugin")
    )
    assert compiler.missing(Target(name)) == ""


def test_progress_says_how_long_and_how_much_memory(monkeypatch):
    monkeypatch.setattr(compiler, "_EVERY", 0.05)
    told = []
    process = compiler.subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.4)"])
    compiler._wait(process, "x", told.append)
    assert re.fullmatch(r"x: \d+ s(, \d+\.\d GB of memory so far)?", told[-1]) and len(told) > 2
