"""What a card gives at best, measured: bytes a second of a large copy and FLOP/s of a large matrix product, as JSON.

    python -m benchmarks.card --out=card.json

Programs are compared with these as well as with the data sheet, whose numbers a card in use does not reach.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

CALLS = 8  # dispatched together, so that the launch of one hides behind the one before
BLOCKS = 5


def seconds_per_call(function: Callable[..., Any], *arguments: Any) -> float:
    """The quickest of `BLOCKS` blocks of `CALLS` calls; jitted, warm."""
    jax.block_until_ready(function(*arguments))
    best = float("inf")
    for _ in range(BLOCKS):
        start = time.perf_counter()
        results = [function(*arguments) for _ in range(CALLS)]
        jax.block_until_ready(results)
        best = min(best, time.perf_counter() - start)
    return best / CALLS


def copy_rate(megabytes: int) -> float:
    """GB/s, read and written, of adding 1 to an array of that size."""
    x = jnp.zeros(megabytes * 10**6 // 4, jnp.float32)
    return 2 * x.nbytes / seconds_per_call(jax.jit(lambda x: x + 1), x) / 1e9


def product_rate(size: int, dtype: Any, precision: str) -> float:
    """TFLOP/s of a square matrix product at a `jax.default_matmul_precision`."""
    a = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))
    return 2 * size**3 / seconds_per_call(product, a, a) / 1e12


def main(argv: list[str] | None = None) -> None:
    """Prints the JSON, and writes it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000, help="of the array that is copied")
    parser.add_argument("--size", type=int, default=8192, help="of the matrices")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)
    device = jax.devices()[0]
    result = {
        "device": device.device_kind,
        "memory_bytes": (device.memory_stats() or {}).get("bytes_limit"),
        "machine": platform.processor() or platform.machine(),
        "jax": jax.__version__,
        "megabytes": arguments.megabytes,
        "size": arguments.size,
        "copy_gigabytes_per_second": copy_rate(arguments.megabytes),
        "teraflop_per_second": {
            "bfloat16": product_rate(arguments.size, jnp.bfloat16, "default"),
            "tf32": product_rate(arguments.size, jnp.float32, "tensorfloat32"),
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
