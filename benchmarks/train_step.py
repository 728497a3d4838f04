"""Times a training step and says what it costs, as JSON.

    python -m benchmarks.train_step --config=configs/demo.py --batch=16
    python -m benchmarks.train_step --config=tests/golden/tiny_a/config.json --batch=4 --what=gradient

The step is the one that `hcflow_jax.main` runs, on random images; `gradient` is the loss and its gradient alone.
"""

import argparse
import importlib.util
import json
import platform
import resource
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from benchmarks import flops
from hcflow_jax.interop import settings
from hcflow_jax.models import factory, noise, objective
from hcflow_jax.training import sharding, state, step
from hcflow_jax.training.programs import compile_options
from hcflow_jax.training.schedule import schedule

# Dense peak of the multiply units, FLOP/s, (bfloat16, float32 as TF32 or bf16 passes), from the vendors' data sheets.
PEAKS = {
    "H100": (989e12, 494e12),
    "H200": (989e12, 494e12),
    "TPU v5 lite": (197e12, 197e12),
    "TPU v5": (459e12, 459e12),
    "TPU v6 lite": (918e12, 918e12),
}


def load_config(path: Path) -> ConfigDict:
    """A config file of ours, or a settings JSON of the authors'."""
    if path.suffix == ".json":
        return settings.to_config(json.loads(path.read_text()))
    spec = importlib.util.spec_from_file_location("benchmarked_config", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"--config: {path} is neither a .py nor a .json file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def matmul_rate(dtype: Any) -> float:
    """FLOP/s of a large matrix product: what stands for a CPU's peak, measured in the same run."""
    n = 2048
    a = jnp.ones((n, n), dtype)
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    best = min(_seconds(lambda: product(a, a).block_until_ready()) for _ in range(5))
    return 2 * n**3 / best


def _seconds(call: Any) -> float:
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


def prepare(config: ConfigDict, what: str) -> tuple[Any, Any, Any]:
    """(jitted function, its first argument, its second): a training step, or the loss's gradient."""
    model = factory.build(config)
    params = jax.tree.map(jnp.asarray, model.create(jax.random.key(config.seed)))
    batch, resolution = config.train.batch_size, config.data.resolution
    images = np.random.default_rng(0).integers(0, 256, (batch, resolution, resolution, 3), dtype=np.uint8)
    if what == "gradient":
        eps = noise.draw(model, jax.random.split(jax.random.key(1), batch))

        def loss(params: Any, x: Any) -> Any:
            return jnp.mean(objective.objective(model, params, x, eps).loss)

        return jax.jit(jax.value_and_grad(loss)), params, jnp.asarray(images / 256 - 0.5, jnp.float32)
    mesh = sharding.make_mesh(config)
    run = step.make_train_step(model, config, schedule(config, 1_000_000), mesh)
    return run, jax.device_put(state.create(params, config), sharding.replicated(mesh)), images


def measure(config: ConfigDict, what: str, repeats: int) -> dict[str, Any]:
    """Compiles, runs once to warm up, and times `repeats` calls."""
    function, first, second = prepare(config, what)
    execution = factory.resolve_execution(config.execution)
    dtype = jnp.dtype(execution["dtype"])
    work = flops.count(function, first, second)
    start = time.perf_counter()
    lowered = function.lower(first, second)
    traced = time.perf_counter()
    compiled = lowered.compile(compiler_options=compile_options())
    done = time.perf_counter()
    times = []
    for i in range(repeats + 1):
        begin = time.perf_counter()
        result = jax.block_until_ready(compiled(first, second))
        if i:
            times.append(time.perf_counter() - begin)
        first = result[0] if what == "step" else first
    seconds, batch = float(np.median(times)), config.train.batch_size
    peak, source = peak_rate(dtype)
    memory = compiled.memory_analysis()
    return {
        "what": what,
        "batch": batch,
        **execution,
        "device": jax.devices()[0].device_kind,
        "machine": platform.processor() or platform.machine(),
        "jax": jax.__version__,
        "trace_seconds": round(traced - start, 2),
        "compile_seconds": round(done - traced, 2),
        "seconds_per_call": {"median": seconds, "min": min(times), "max": max(times), "calls": repeats},
        "images_per_second": batch / seconds,
        "ms_per_image": 1e3 * seconds / batch,
        "model_gflop_per_image": work / batch / 1e9,
        "flop_per_second": work / seconds,
        "peak_flop_per_second": peak,
        "peak_from": source,
        "share_of_peak": work / seconds / peak,
        "peak_memory_bytes": peak_memory(),
        "program_bytes": {
            "arguments": getattr(memory, "argument_size_in_bytes", None),
            "temporaries": getattr(memory, "temp_size_in_bytes", None),
        },
    }


def main() -> None:
    """Prints the JSON, and writes it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--batch", type=int, help="images; the config's by default")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--what", choices=("step", "gradient"), default="step")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    if arguments.batch:
        config.train.batch_size = arguments.batch
    config.execution.dtype = arguments.precision
    result = {"config": str(arguments.config), **measure(config, arguments.what, arguments.repeats)}
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
