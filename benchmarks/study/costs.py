"""What a training step and a sample of each model cost beside A's, and so how many steps fit into the same time.

Also what a step of the trials of recipes costs beside that of the plain recipe.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import jax
from ml_collections import ConfigDict

from benchmarks.step_programs import prepare
from benchmarks.study import recipes
from hcflow_jax.compiling import compile_options, enable_compilation_cache
from hcflow_jax.config import presets

PAIRS, CALLS = 9, 2  # the default number of pairs; calls of each program in a pair
SAMPLED = 64  # images of a batch of samples
WHAT = ("step", "sample")  # the programs that are timed, by their names in step_programs


def measure(
    base: str, rivals: Iterable[str], what: str, pairs: int = PAIRS, tell: Callable[[str], object] = print
) -> dict[str, Any]:
    """Times each rival's training step, or its sampling of a batch, beside the base's.

    Args:
      base: a model of configs/study.py.
      rivals: others, or trials (`recipes`) by the names of their runs.
      what: one of `WHAT`.
      pairs: how often each is timed.
      tell: is given a line for each rival.

    Returns:
      {name: see `pair`, with "pairs", "device" and "jax"}.
    """
    found = {}
    for rival in rivals:
        # A process for each: the programs of all models together are more than XLA has room for in one.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            timed = alone.submit(pair, base, rival, what, pairs).result()
        found[rival] = {**timed, "pairs": pairs, "device": jax.devices()[0].device_kind, "jax": jax.__version__}
        tell(f"{rival}, {what}: {found[rival]}")
    return found


def pair(base: str, rival: str, what: str, pairs: int) -> dict[str, float]:
    """Times two programs in turn: median seconds of each; the ratio of the rival's time to the base's.

    The ratio is the median of `pairs` pairs of `CALLS` calls each, with the least and the greatest.
    """
    enable_compilation_cache()
    calls = [_compiled(model, what) for model in (base, rival)]
    times = [[call() for call in calls] for _ in range(pairs)]
    ratios = [other / own for own, other in times]
    return {
        "base_seconds": statistics.median(own for own, _ in times),
        "seconds": statistics.median(other for _, other in times),
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "greatest": max(ratios),
    }


def of_trials(pairs: int = PAIRS) -> dict[str, Any]:
    """Times the training step of the trials of `recipes.COST` beside the same model's plain step, as `measure`."""
    found: dict[str, Any] = {}
    for model in recipes.MODELS:
        names = [recipes.trial(model, name).name for name in recipes.COST[model]]
        found |= measure(model, names, "step", pairs)
    return found


def _config(name: str) -> ConfigDict:
    trials = {run.name: run for run in recipes.RUNS}
    return trials[name].resolved() if name in trials else presets.config(f"study:portraits_{name}")


def _compiled(name: str, what: str) -> Callable[[], float]:
    """A function that runs a program a few times and gives the seconds of one call."""
    config = _config(name)
    if what == "sample":
        config.train.batch_size = SAMPLED
    function, *arguments = prepare(config, what)
    run = function.lower(*arguments).compile(compiler_options=compile_options())

    def call() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            found = run(*arguments)
            if what == "step":
                arguments[0], found = found
        jax.block_until_ready((arguments[0], found))
        return (time.perf_counter() - start) / CALLS

    call()
    return call
