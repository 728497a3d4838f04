"""Times a training step before and after the encoder's freeze, the two taking turns, and says their ratio, as JSON.

python -m benchmarks.freeze --config=configs/demo.py --batch=8
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks.step_programs import load_config, prepare
from hcflow_jax.compiling import compile_options


def _compiled(config: ConfigDict, what: str) -> Callable[[], float]:
    """Takes a step and gives its seconds, compiling excluded."""
    function, *arguments = prepare(config, what)
    step = function.lower(*arguments).compile(compiler_options=compile_options())

    def call() -> float:
        start = time.perf_counter()
        arguments[0] = jax.block_until_ready(step(*arguments))[0]
        return time.perf_counter() - start

    call()
    return call


def compare(config: ConfigDict, pairs: int) -> dict[str, Any]:
    """Seconds a step (medians), and the frozen step's over the other's: median, least and greatest of the pairs."""
    steps = {what: _compiled(config, what) for what in ("step", "frozen")}
    times = np.empty((pairs, 2))
    for pair in times:
        pair[:] = [step() for step in steps.values()]
    ratios = times[:, 1] / times[:, 0]
    return {
        "batch": config.train.batch_size,
        "pairs": pairs,
        "step_seconds": float(np.median(times[:, 0])),
        "frozen_seconds": float(np.median(times[:, 1])),
        "ratio": {"median": float(np.median(ratios)), "least": float(ratios.min()), "greatest": float(ratios.max())},
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--batch", type=int, help="images; the config's by default")
    parser.add_argument("--pairs", type=int, default=15)
    chosen = parser.parse_args()
    config = load_config(chosen.config)
    if chosen.batch:
        config.train.batch_size = chosen.batch
    print(json.dumps(compare(config, chosen.pairs), indent=1))


if __name__ == "__main__":
    main()
