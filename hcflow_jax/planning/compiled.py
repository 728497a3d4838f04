"""Compiles a program for devices that are not here, and reports what it needs on one of them."""

import dataclasses
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from hcflow_jax.compiling import compile_options
from hcflow_jax.planning import hlo, roofline
from hcflow_jax.planning.programs import Program
from hcflow_jax.planning.targets import TPU_CLOCKS, Target


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled program.

    Attributes:
      text: the optimised, scheduled program.
      memory: bytes on a device: "arguments", "temporaries", and "outputs" that do not take the place of an argument.
      seconds: the time of tracing, of compiling up to the schedule, and of the whole compilation if it was finished.
      cost: XLA's own count of FLOPs and bytes, if it gives one.
    """

    text: str
    memory: dict[str, int]
    seconds: dict[str, float]
    cost: dict[str, float]


def compile_for(target: Target, program: Program, finish: bool = False) -> Compiled:
    """Compiles a program.

    Args:
      target: the devices.
      program: the function and its arguments.
      finish: whether to make machine code, too. For a GPU this takes most of the time, and the schedule is enough.
        Without `finish`, the compiler still works in a thread when this function returns: end the process with
        `os._exit`.
    """
    function, arguments = program
    start = time.perf_counter()
    lowered = function.trace(*arguments).lower(lowering_platforms=(target.platform,))
    traced = time.perf_counter()
    device = None if target.is_gpu else target.devices()[0]
    options = dict(compile_options(backend=target.platform, device=device) or {})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as dump:
        if target.is_gpu:
            # Autotuning needs a device.
            options |= {"xla_dump_to": dump, "xla_dump_hlo_as_text": True, "xla_gpu_autotune_level": 0}
        if target.is_gpu and not finish:
            text = _until_scheduled(lowered, options, Path(dump))
            done = {"trace": traced - start, "schedule": time.perf_counter() - traced}
            return Compiled(text, _memory(Path(dump)), done, {})
        compiled = lowered.compile(compiler_options=options)
        done = {"trace": traced - start, "compile": time.perf_counter() - traced}
        if scheduled := sorted(Path(dump).glob("*gpu_after_optimizations.txt")):
            done["schedule"] = done["compile"] - (time.time() - scheduled[0].stat().st_mtime)
        memory = compiled.memory_analysis()
        sizes = {
            "arguments": memory.argument_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "outputs": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        }
        cost = {} if target.is_gpu else dict(compiled.cost_analysis() or {})
        return Compiled(compiled.as_text(), sizes, done, cost)


def _until_scheduled(lowered: Any, options: dict[str, Any], dump: Path) -> str:
    """The scheduled program, as soon as the compiler has printed it. The compiler's thread ends with the process."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            lowered.compile(compiler_options=options)
        except Exception as error:
            failed.append(error)

    threading.Thread(target=run, daemon=True).start()
    # The debug options are printed after everything that belongs to the schedule.
    while not list(dump.glob("*.debug_options")) or not list(dump.glob("*gpu_after_optimizations.txt")):
        if failed:
            raise failed[0]
        time.sleep(0.2)
    time.sleep(1.0)
    return next(dump.glob("*gpu_after_optimizations.txt")).read_text()


def _memory(dump: Path) -> dict[str, int]:
    return sizes(next(dump.glob("*after_optimizations-buffer-assignment.txt")).read_text())


def sizes(text: str) -> dict[str, int]:
    """Bytes by kind, as `Compiled.memory`, from the text of XLA's buffer assignment."""
    found = {"arguments": 0, "temporaries": 0, "outputs": 0}
    for size, what in re.findall(r"^allocation \d+: .*?size (\d+)(.*):$", text, re.M):
        if "parameter" in what:
            found["arguments"] += int(size)
        elif "preallocated-temp" in what:
            found["temporaries"] += int(size)
        elif "maybe-live-out" in what:
            found["outputs"] += int(size)
    return found


def report(target: Target, compiled: Compiled, batch: int) -> dict[str, Any]:
    """What a program needs on one device, as values of JSON.

    GPUs: the kernel roofline (see `roofline`). TPUs: the cycles that XLA's compiler estimates, those in loops times
    the number of iterations.

    Args:
      target: the devices.
      compiled: the program.
      batch: the images of one device.
    """
    module = hlo.parse(compiled.text)
    found = roofline.kernels(module, roofline.GPUS.get(target.chip, roofline.GPUS["h200"]))
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
    result["ms_per_image"] = 1e3 * cycles / TPU_CLOCKS[target.chip] / batch
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
