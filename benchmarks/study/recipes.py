"""The search for better recipes: short runs of A and of Glow, each with other rates, schedules or optimizers.

A trial has the demo's budget: A's 1,100 steps, and as many of Glow's as fit into the same time. Both models have as
many trials. What counts is bits/dim on the held-out images at the end.
"""

from typing import Any

from benchmarks.study.plan import Run
from configs.study import RATES, STEPS

BUDGET = 1_100  # steps of A
MODELS = ("a", "glow")

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


def trial(model: str, name: str) -> Run:
    """A trial as a run. A batch of another size has as many images in all."""
    factor, fields = TRIALS[name]
    own = {field: value[model] if isinstance(value, dict) else value for field, value in fields.items()}
    steps = BUDGET * STEPS[model] // STEPS["a"] * 8 // own.get("train.batch_size", 8)
    base = RATES["glow" if model == "glow" else "hierarchy"]
    rates = {f"train.learning_rate.{group}": factor * rate for group, rate in base.items()}
    never = {"train.measure_every": 0, "train.eval_every": 0}
    overrides = {**rates, "train.num_steps": steps, **never, **own}
    return Run(f"portraits_{model}", 0, samples=0, overrides=tuple(overrides.items()), label=f"recipe_{model}_{name}")


RUNS = tuple(trial(model, name) for name in TRIALS for model in MODELS)
