"""The search for better recipes: short runs of A and of Glow, each with other rates, schedules or optimizers.

A trial has the demo's budget: the time of A's 1,100 steps with the paper's recipe. Its number of steps follows from
the measured time of a step. Both models have the same trials. What counts is bits/dim on the held-out images at the
end.
"""

from typing import Any

from benchmarks.study.plan import Run
from configs.study import STEPS, recipe

BUDGET = 1_100  # steps of A
MODELS = ("a", "glow")
# Time of a step beside that of the model's trial x1, for the trials whose steps cost something else (`costs trials`).
# Trials that differ in nothing but rates and schedule take as long as the one that was timed.
COST: dict[str, dict[str, float]] = {
    "a": {"x3-batch4": 0.52, "x4-batch16": 1.88, "muon-x1": 1.23, "muon-x2-batch4": 0.75},
    "glow": {"x3-batch4": 0.53, "x4-batch16": 1.8, "muon-x1": 1.62, "muon-x2-batch4": 1.17},
}

# By name: the factor on all learning rates, and the fields that differ from configs/study.py.
TRIALS: dict[str, tuple[float, dict[str, Any]]] = {
    "x0.5": (0.5, {}),
    "x1": (1.0, {}),
    "x2": (2.0, {}),
    "x3": (3.0, {}),
    "x4": (4.0, {}),
    "x6": (6.0, {}),
    "x4-warmup300": (4.0, {"train.warmup_steps": 300}),
    "x3-decay0.6": (3.0, {"train.final_decay": 0.6}),
    "x3-b2": (3.0, {"train.adam_b2": 0.99}),
    "x3-batch4": (3.0, {"train.batch_size": 4}),
    "x4-batch16": (4.0, {"train.batch_size": 16}),
    "other-optimizer": (1.0, {"train.optimizer": {"a": "adamax", "glow": "adam"}}),
    "muon-x1": (1.0, {"train.optimizer": "muon"}),
    "muon-x2": (2.0, {"train.optimizer": "muon"}),
    "muon-x3": (3.0, {"train.optimizer": "muon"}),
    "muon-x6": (6.0, {"train.optimizer": "muon"}),
    "muon-x2-decay0.6": (2.0, {"train.optimizer": "muon", "train.final_decay": 0.6}),
    "muon-x2-batch4": (2.0, {"train.optimizer": "muon", "train.batch_size": 4}),
}


def cost(model: str, name: str) -> float:
    """The time of a trial's step beside that of the model's trial x1."""
    return {_costly(timed): value for timed, value in COST[model].items()}.get(_costly(name), 1.0)


def _costly(name: str) -> tuple[bool, int]:
    """What a step's time depends on: whether the optimizer is Muon, and the size of the batch."""
    fields = TRIALS[name][1]
    return fields.get("train.optimizer") == "muon", fields.get("train.batch_size", 8)


def trial(model: str, name: str) -> Run:
    """A trial as a run. The number of its steps fits into the time of all trials."""
    factor, fields = TRIALS[name]
    own = {field: value[model] if isinstance(value, dict) else value for field, value in fields.items()}
    steps = int(BUDGET * STEPS[model] / STEPS["a"] / cost(model, name))
    never = {"train.measure_every": 0, "train.eval_every": 0}
    other = recipe("glow" if model == "glow" else "hierarchy", factor, own)
    overrides = {"train.num_steps": steps, **never, **other}
    return Run(f"portraits_{model}", 0, samples=0, overrides=tuple(overrides.items()), label=f"recipe_{model}_{name}")


RUNS = tuple(trial(model, name) for name in TRIALS for model in MODELS)
