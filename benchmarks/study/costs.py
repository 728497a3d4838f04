"""What a training step of each model costs beside A's, and so how many steps fit into the same time."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax

from benchmarks.step_programs import prepare
from hcflow_jax.compiling import compile_options, enable_compilation_cache
from hcflow_jax.config import presets

PAIRS, CALLS = 9, 2


def measure(base: str, rivals: tuple[str, ...], tell: Callable[[str], object] = print) -> dict[str, Any]:
    """Times each rival's training step beside the base's.

    Args:
      base: a model of configs/study.py.
      rivals: others.
      tell: is given a line for each rival.

    Returns:
      {"pairs", "steps_a_pair", "rivals": {name: see `pair`}, "device", "jax"}.
    """
    found = {}
    for rival in rivals:
        # A process for each: the programs of all models together are more than XLA has room for in one.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            found[rival] = alone.submit(pair, base, rival).result()
        tell(f"{rival}: {found[rival]}")
    device = jax.devices()[0].device_kind
    return {"pairs": PAIRS, "steps_a_pair": CALLS, "rivals": found, "device": device, "jax": jax.__version__}


def pair(base: str, rival: str) -> dict[str, float]:
    """Times two steps in turn: median seconds of each; the rival's over the base's, median and range of the pairs."""
    enable_compilation_cache()
    steps = [_compiled(model) for model in (base, rival)]
    times = [[step() for step in steps] for _ in range(PAIRS)]
    ratios = [other / own for own, other in times]
    return {
        "base_seconds": statistics.median(own for own, _ in times),
        "seconds": statistics.median(other for _, other in times),
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "greatest": max(ratios),
    }


def _compiled(model: str) -> Callable[[], float]:
    """A function that takes steps and gives the seconds of one."""
    function, *arguments = prepare(presets.config(f"study:portraits_{model}"), "step")
    run = function.lower(*arguments).compile(compiler_options=compile_options())

    def step() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            arguments[0], found = run(*arguments)
        jax.block_until_ready((arguments[0], found))
        return (time.perf_counter() - start) / CALLS

    step()
    return step
