"""What a training step of each model costs, all measured in turn, and so how many steps fit into the same time."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

from benchmarks.step_programs import prepare
from benchmarks.train_step import peak_memory
from hcflow_jax.compiling import compile_options
from hcflow_jax.config import presets

ROUNDS, CALLS = 9, 2


def measure(models: tuple[str, ...], tell: Callable[[str], object] = print) -> dict[str, Any]:
    """Times each model's step once a round, the models one after the other, and gives ratios to the first model.

    Args:
      models: names of models in configs/study.py; the first is what the others are compared with.
      tell: is given a line for each model that is compiled and each round.

    Returns:
      {"rounds", "seconds": {model: median}, "ratio": {model: {"median", "least", "greatest"}}, "device", "jax"}.
    """
    steps = {}
    for model in models:
        steps[model] = _compiled(model)
        tell(f"compiled: {model}")
    rounds = []
    for i in range(ROUNDS):
        rounds.append({model: step() for model, step in steps.items()})
        tell(f"round {i + 1} of {ROUNDS}: " + ", ".join(f"{model} {s:.3f} s" for model, s in rounds[-1].items()))
    ratios = {model: [each[model] / each[models[0]] for each in rounds] for model in models}
    return {
        "rounds": ROUNDS,
        "steps_a_round": CALLS,
        "seconds": {model: statistics.median(each[model] for each in rounds) for model in models},
        "ratio": {
            model: {"median": statistics.median(values), "least": min(values), "greatest": max(values)}
            for model, values in ratios.items()
        },
        "peak_memory_bytes": peak_memory(),
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
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
