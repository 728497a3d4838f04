"""Planning: the programs that are compiled, what is read from the compiler's texts, and the compiler's process."""

import json
import re
import sys
from types import SimpleNamespace

import jax
import least_config
import numpy as np
import plan_results
import pytest
import toy_family

from hcflow_jax import config as schema
from hcflow_jax.config import registry
from hcflow_jax.devices import in_a_row
from hcflow_jax.errors import InputError, MissingExtraError
from hcflow_jax.planning import compiled, compiler, hlo, programs, result
from hcflow_jax.planning.targets import Target

H200 = Target("h200")


def test_the_programs_are_those_of_a_run(monkeypatch):
    monkeypatch.setitem(registry._modules, toy_family.NAME, "toy_family")
    config = schema.default(family=toy_family.NAME)
    config.data.resolution = 4
    config = result.for_target(config, H200, 8)
    mesh = in_a_row(jax.devices()[:1])
    step, arguments = programs.whole(config, "train", mesh)
    state, images, _ = arguments
    assert images.shape == (8, 4, 4, 3) and images.dtype == np.uint8
    new, metrics = jax.eval_shape(step, *arguments)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), new) == jax.tree.map(lambda a: (a.shape, a.dtype), state)
    assert "bits_per_dim" in metrics
    decode, arguments = programs.whole(config, "sample", mesh)
    assert jax.eval_shape(decode, *arguments).shape == (8, 4, 4, 3)


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
    found = compiled.report(Target("v5e:2x2"), program, batch=4)
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


def test_a_program_is_compiled_with_the_options_of_a_run_on_the_target(monkeypatch):
    seen = []

    def options(backend, device):
        seen.append((backend, device))
        return {"xla_no_such_option": True}

    monkeypatch.setattr(compiled, "compile_options", options)
    target = SimpleNamespace(platform="cpu", is_gpu=False, devices=jax.devices)
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        compiled.compile_for(target, (jax.jit(lambda x: x), (np.ones(2, np.float32),)))  # pyright: ignore
    assert seen == [("cpu", jax.devices()[0])]
