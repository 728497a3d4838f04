"""Times a training step, or another program of the model, and says what it costs, as JSON.

    python -m benchmarks.train_step --config=configs/demo.py --batch=16
    python -m benchmarks.train_step --config=tests/golden/tiny_a/config.json --batch=4 --what=gradient
    python -m benchmarks.train_step --config=configs/celebahq_a.py --batch=16 --what=levels --precision=bfloat16

On random images. `benchmarks/step_programs.py` says what each program is; `levels` is the loss's gradient in the
pieces of `benchmarks/level_programs.py`, each compiled and timed on its own.
"""

import argparse
import dataclasses
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from benchmarks import flops, kernel_profile, level_programs
from benchmarks.step_programs import WHOLE, assignments, load_config, prepare
from hcflow_jax.compiling import compile_options
from hcflow_jax.models.hierarchy import build

# Dense peak of the multiply units, FLOP/s, (bfloat16, float32 as TF32 or bf16 passes), from the vendors' data sheets.
PEAKS = {
    "H100": (989e12, 494e12),
    "H200": (989e12, 494e12),
    "TPU v5 lite": (197e12, 197e12),
    "TPU v5": (459e12, 459e12),
    "TPU v6 lite": (918e12, 918e12),
}


def matmul_rate(dtype: Any) -> float:
    """FLOP/s of a large matrix product: what stands for a CPU's peak, measured in the same run."""
    n = 2048
    a = jnp.ones((n, n), dtype)
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    best = min(_seconds(lambda: product(a, a).block_until_ready()) for _ in range(5))
    return 2 * n**3 / best


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_rate(dtype: Any) -> tuple[float, str]:
    """FLOP/s to compare with, and where the number is from."""
    kind = jax.devices()[0].device_kind
    for name, (bfloat16, float32) in PEAKS.items():
        if name in kind:
            return (bfloat16 if dtype == jnp.bfloat16 else float32), f"data sheet of {name}"
    return matmul_rate(dtype), "a 2048 x 2048 matrix product in this run"


def peak_memory() -> int:
    """Bytes: the device's peak, or the process's on a CPU."""
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get("peak_bytes_in_use", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


@dataclasses.dataclass(frozen=True)
class How:
    """How programs are compiled and looked at.

    Attributes:
      repeats: timed calls, after one that is not.
      xla_options: go over those that users' programs are compiled with.
      profile: where a trace of three more calls goes, and nowhere by default.
    """

    repeats: int = 10
    xla_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    profile: Path | None = None


def time_program(function: Any, arguments: list[Any], batch: int, how: How, carries: bool = False) -> dict[str, Any]:
    """Compiles a jitted function, runs it once to warm up, and times its calls.

    Args:
      function: from jax.jit.
      arguments: a list of its own: given up, where the function takes their memory.
      batch: images a call.
      how: options, repeats, profile.
      carries: the first of its results is the next call's first argument.
    """
    work = flops.count(function, *arguments)
    start = time.perf_counter()
    lowered = function.lower(*arguments)
    traced = time.perf_counter()
    compiled = lowered.compile(compiler_options={**(compile_options() or {}), **how.xla_options})
    done = time.perf_counter()

    def call() -> None:
        result = jax.block_until_ready(compiled(*arguments))
        if carries:
            arguments[0] = result[0]

    times = [_seconds(call) for _ in range(how.repeats + 1)][1:]
    seconds, memory = float(np.median(times)), compiled.memory_analysis()
    profile = {"profile": kernel_profile.record(call, how.profile)} if how.profile else {}
    return {
        "trace_seconds": round(traced - start, 2),
        "compile_seconds": round(done - traced, 2),
        "seconds_per_call": {"median": seconds, "min": min(times), "max": max(times), "calls": how.repeats},
        "images_per_second": batch / seconds,
        "ms_per_image": 1e3 * seconds / batch,
        "model_gflop_per_image": work / batch / 1e9,
        "flop_per_second": work / seconds,
        "program_bytes": {
            "arguments": getattr(memory, "argument_size_in_bytes", None),
            "temporaries": getattr(memory, "temp_size_in_bytes", None),
        },
        **profile,
    }


def with_adam(config: ConfigDict) -> ConfigDict:
    """The config with Adam in place of Muon, for comparisons with networks in PyTorch, which have no Muon."""
    if config.train.optimizer == "muon":
        config.train.optimizer = "adam"
    return config


def measure(config: ConfigDict, what: str, how: How | None = None) -> dict[str, Any]:
    """Times a program of `WHOLE`."""
    function, *arguments = prepare(config, what)
    carries = what in ("step", "frozen")
    timed = time_program(function, arguments, config.train.batch_size, how or How(), carries)
    execution = build.resolve_execution(config.execution)
    peak, source = peak_rate(jnp.dtype(execution["dtype"]))
    return {
        **_about(config, what, how or How()),
        **timed,
        "peak_flop_per_second": peak,
        "peak_from": source,
        "share_of_peak": timed["flop_per_second"] / peak,
        "peak_memory_bytes": peak_memory(),
    }


def measure_levels(config: ConfigDict, how: How | None = None) -> dict[str, Any]:
    """Times the pieces of the loss's gradient; shares are of their sum."""
    how = how or How()
    model, batch = build.build(config), config.train.batch_size
    params = jax.tree.map(jnp.asarray, model.create(jax.random.key(config.seed)))
    rows: dict[str, dict[str, Any]] = {}
    for name, make in level_programs.pieces(model, params, batch):
        gradient, arguments = make()
        where = how.profile / name.replace(":", "_") if how.profile else None
        own = dataclasses.replace(how, profile=where)
        rows[name] = time_program(jax.jit(gradient), list(level_programs.filled(arguments)), batch, own)
        # Said at once: a limit on the time may end this before the last piece.
        print(f"{name}: {rows[name]['ms_per_image']:.4g} ms/image", file=sys.stderr, flush=True)
    total = sum(row["ms_per_image"] for row in rows.values())
    return {
        **_about(config, "levels", how),
        "ms_per_image": total,
        "compile_seconds": round(sum(row["compile_seconds"] for row in rows.values()), 2),
        "pieces": {name: {"share": row["ms_per_image"] / total, **row} for name, row in rows.items()},
    }


def _about(config: ConfigDict, what: str, how: How) -> dict[str, Any]:
    return {
        "what": what,
        "batch": config.train.batch_size,
        **build.resolve_execution(config.execution),
        "backward": config.execution.backward,
        "xla_options": {**(compile_options() or {}), **how.xla_options},
        "device": jax.devices()[0].device_kind,
        "machine": platform.processor() or platform.machine(),
        "jax": jax.__version__,
    }


def main(argv: list[str] | None = None) -> None:
    """Prints the JSON, and writes it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--batch", type=int, help="images; the config's by default")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--what", choices=(*WHOLE, "levels"), default="step")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="a field of `execution`")
    parser.add_argument(
        "--xla-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="over those of users' programs, e.g. xla_gpu_experimental_enable_conv_fusion=true",
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--profile", type=Path, metavar="DIR", help="also write a profiler's trace of three calls")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)
    config = load_config(arguments.config)
    if arguments.batch:
        config.train.batch_size = arguments.batch
    config.execution.dtype = arguments.precision
    config.execution.update(assignments("--set", arguments.set))
    how = How(arguments.repeats, assignments("--xla-option", arguments.xla_option), arguments.profile)
    measured = measure_levels(config, how) if arguments.what == "levels" else measure(config, arguments.what, how)
    text = json.dumps({"config": str(arguments.config), **measured}, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
