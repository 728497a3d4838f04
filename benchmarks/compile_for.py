"""Compiles a program of ours for an accelerator that is not here, and says what it would cost there, as JSON.

    python -m benchmarks.compile_for --target h200 --config configs/celebahq_a.py --batch 64 --precision bfloat16
    python -m benchmarks.compile_for --target v5e:2x2 --config configs/celebahq_a.py --part coupling:128:checker

The program is the one that users run, sharded over all devices of the target; XLA's optimised result is the real one
for that device, and the same every time. GPUs: the kernel roofline (`benchmarks/roofline.py`). TPUs: the compiler's
own estimated cycles, loops times trips.
"""

import argparse
import dataclasses
import json
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from benchmarks import absent, absent_programs, hlo, roofline
from benchmarks.step_programs import assignments, load_config
from hcflow_jax.compiling import compile_options
from hcflow_jax.models.hierarchy.build import resolve_execution
from hcflow_jax.training import sharding


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What XLA made.

    Attributes:
      text: the optimised, scheduled program.
      memory: bytes on a device: arguments, temporaries, and outputs that take no argument's place.
      seconds: of tracing, of compiling up to the schedule, and in all where it was finished.
      cost: XLA's own count of FLOPs and bytes, where it gives one.
    """

    text: str
    memory: dict[str, int]
    seconds: dict[str, float]
    cost: dict[str, float]


def compile_for(target: absent.Target, program: absent_programs.Program, finish: bool) -> Compiled:
    """Compiles a program.

    Args:
      target: for what.
      program: function and arguments.
      finish: make machine code too. For a GPU that is most of the time, and the schedule tells all that is asked
        here: without `finish` the compiler is stopped once it has printed it.
    """
    function, arguments = program
    start = time.perf_counter()
    lowered = function.trace(*arguments).lower(lowering_platforms=(target.platform,))
    traced = time.perf_counter()
    options = dict(compile_options(backend=target.platform) or {})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as dump:
        if target.is_gpu:
            # Without a device there is nothing to time: no autotuning.
            options |= {"xla_dump_to": dump, "xla_dump_hlo_as_text": True, "xla_gpu_autotune_level": 0}
        if target.is_gpu and not finish:
            text = _until_scheduled(lowered, options, Path(dump))
            done = {"trace": traced - start, "schedule": time.perf_counter() - traced}
            return Compiled(text, _memory(Path(dump)), done, {})
        compiled = lowered.compile(compiler_options=options)
        done = {"trace": traced - start, "compile": time.perf_counter() - traced}
        if scheduled := sorted(Path(dump).glob(f"*{_SCHEDULED}")):
            done["schedule"] = done["compile"] - (time.time() - scheduled[0].stat().st_mtime)
        memory = compiled.memory_analysis()
        sizes = {
            "arguments": memory.argument_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "outputs": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        }
        cost = {} if target.is_gpu else dict(compiled.cost_analysis() or {})
        return Compiled(compiled.as_text(), sizes, done, cost)


_SCHEDULED = "gpu_after_optimizations.txt"


def _until_scheduled(lowered: Any, options: dict[str, Any], dump: Path) -> str:
    """The scheduled program, as soon as the compiler has printed it; the thread it runs in ends with the process."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            lowered.compile(compiler_options=options)
        except Exception as error:
            failed.append(error)

    threading.Thread(target=run, daemon=True).start()
    # The debug options are printed last of what tells of the schedule.
    while not list(dump.glob("*.debug_options")) or not list(dump.glob(f"*{_SCHEDULED}")):
        if failed:
            raise failed[0]
        time.sleep(0.2)
    time.sleep(1.0)
    return next(dump.glob(f"*{_SCHEDULED}")).read_text()


def _memory(dump: Path) -> dict[str, int]:
    """Sizes from XLA's buffer assignment."""
    sizes = {"arguments": 0, "temporaries": 0, "outputs": 0}
    text = next(dump.glob("*after_optimizations-buffer-assignment.txt")).read_text()
    for size, what in re.findall(r"^allocation \d+: .*?size (\d+)(.*):$", text, re.M):
        if "parameter" in what:
            sizes["arguments"] += int(size)
        elif "preallocated-temp" in what:
            sizes["temporaries"] += int(size)
        elif "maybe-live-out" in what:
            sizes["outputs"] += int(size)
    return sizes


def report(target: absent.Target, compiled: Compiled, batch: int) -> dict[str, Any]:
    """What the program costs on one device of the target; `batch` is its share of the images."""
    module = hlo.parse(compiled.text)
    found = roofline.kernels(module, absent.GPUS.get(target.chip, absent.GPUS["h200"]))
    totals = roofline.summarise(found, batch)
    reduces = [(i, times) for _, i, times in module.scheduled() if i.opcode in ("all-reduce", "all-reduce-start")]
    result: dict[str, Any] = {
        "memory_gigabytes": {name: size / 1e9 for name, size in compiled.memory.items()},
        "all_reduces": {
            "number": sum(times for _, times in reduces),
            "megabytes": sum(i.bytes * times for i, times in reduces) / 1e6,
        },
        "other_collectives": sum(
            k.times for k in found if k.kind == "collective" and not k.name.startswith("all-reduce")
        ),
        "opaque": sorted({i.target for _, i, _ in module.scheduled() if i.opcode == "custom-call"}),
    }
    if target.is_gpu:
        return {"roofline": totals, **result}
    cycles = sum(i.estimated_cycles * times for _, i, times in module.scheduled())
    result["cycles_per_image"] = cycles / batch
    result["ms_per_image"] = 1e3 * cycles / absent.TPU_CLOCKS[target.chip] / batch
    result["cycles_by_kind"] = _cycles_by_kind(module, batch)
    result["dearest"] = _dearest_cycles(module, batch)
    result["xla_gflop_per_image"] = compiled.cost.get("flops", 0.0) / batch / 1e9
    result["xla_megabytes_per_image"] = compiled.cost.get("bytes accessed", 0.0) / batch / 1e6
    result["kernels"] = {kind: row["kernels"] for kind, row in totals["by_kind"].items()}
    return result


def _cycles_by_kind(module: hlo.Module, batch: int) -> dict[str, float]:
    kinds: dict[str, float] = {}
    for _, i, times in module.scheduled():
        if i.estimated_cycles:
            kind = re.sub(r"[.\d]+$", "", i.name)
            kinds[kind] = kinds.get(kind, 0.0) + i.estimated_cycles * times / batch
    return dict(sorted(kinds.items(), key=lambda item: -item[1])[:20])


def _dearest_cycles(module: hlo.Module, batch: int) -> list[dict[str, Any]]:
    rows = [
        {"cycles_per_image": i.estimated_cycles * times / batch, "source": roofline.source(module, i)}
        for _, i, times in module.scheduled()
        if i.estimated_cycles
    ]
    return sorted(rows, key=lambda row: -row["cycles_per_image"])[:20]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compiles what the flags say and reports it; writes the program's text where --hlo says."""
    target = absent.Target(arguments.target)
    config = load_config(arguments.config)
    config.execution.preset, config.execution.dtype = target.preset, arguments.precision
    config.execution.update(assignments("--set", arguments.set))
    config.model.update(assignments("--model", arguments.model))
    devices = target.devices()
    mesh = Mesh(np.array(devices), (sharding.BATCH,), axis_types=(AxisType.Auto,))
    config.train.batch_size = arguments.batch * len(devices)
    build = absent_programs.part if arguments.part else absent_programs.whole
    compiled = compile_for(target, build(config, arguments.part or arguments.mode, mesh), arguments.finish)
    if arguments.hlo:
        arguments.hlo.write_text(compiled.text)
    return {
        "target": arguments.target,
        "devices": len(devices),
        "config": str(arguments.config),
        "model": assignments("--model", arguments.model),
        "program": arguments.part or arguments.mode,
        "batch_per_device": arguments.batch,
        "execution": resolve_execution(config.execution),
        "jax": jax.__version__,
        "seconds": {name: round(seconds, 1) for name, seconds in compiled.seconds.items()},
        **report(target, compiled, arguments.batch),
    }


def main() -> None:
    """Prints the JSON, and writes it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, help="h200, h100, h200:16, v5e:16x16, v6e:16x16, ...")
    parser.add_argument("--config", type=Path, default=absent.ROOT / "configs" / "celebahq_a.py")
    parser.add_argument("--batch", type=int, default=64, help="images a device")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--mode", choices=absent_programs.MODES, default="train")
    parser.add_argument("--part", help="instead of a mode: coupling:128:checker, step:32:channel, decoder:128, ...")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of `execution`")
    parser.add_argument("--model", action="append", default=[], metavar="FIELD=VALUE", help="a field of `model`")
    parser.add_argument("--finish", action="store_true", help="GPU: compile to the end, to see how long it takes")
    parser.add_argument("--hlo", type=Path, help="where to write the optimised program's text")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    absent.enter(absent.Target(arguments.target))
    text = json.dumps(measure(arguments), indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    # A compiler that was left in the middle of its work is not to be waited for.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
