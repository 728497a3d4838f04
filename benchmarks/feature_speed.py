"""Features/s of every extractor, and ms/image of sampling at some batches, on this machine's devices, as JSON.

    python -m benchmarks.feature_speed --out=speed.json

Each figure is the median of `--rounds` rounds, and compiling is not counted. Speed does not depend on the values of
the weights, so Inception's are random.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hcflow_jax import api, files
from hcflow_jax.compiling import enable_compilation_cache
from hcflow_jax.evaluation import extractors, inception, inception_weights
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.features import features


def random_inception() -> Extractor:
    """FID's network with random weights."""
    rng = np.random.default_rng(0)
    flat = {name: 0.05 * rng.random(shape, np.float32) + 0.01 for name, shape in inception_weights.shapes().items()}
    arrays = inception.arrange(flat)
    return Extractor("inception", inception.DIMS, inception.features, arrays, extractors.TF1, "")


def median_seconds(call: Callable[[], Any], rounds: int) -> tuple[float, list[float]]:
    """Of one call, after one that compiles; and each round's."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), [round(seconds, 4) for seconds in times]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=32, help="of the images that features are made of")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checkpoint", default="portraits", help="what is sampled from")
    parser.add_argument("--sample-batches", default="1,16,64")
    parser.add_argument("--out", type=Path)
    values = parser.parse_args()
    enable_compilation_cache()
    made: dict[str, Any] = {"features": {}, "sampling": {}}
    shape = (values.batch, values.resolution, values.resolution, 3)
    images = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    each = [random_inception(), *(extractors.load(name) for name in extractors.NAMES if name != "inception")]
    for extractor in each:
        seconds, times = median_seconds(
            lambda e=extractor: list(features(e.network, e.weights, images, values.batch)), values.rounds
        )
        made["features"][extractor.name] = {"features_per_second": round(values.batch / seconds, 2), "seconds": times}
    model = api.load(values.checkpoint)
    for batch in map(int, values.sample_batches.split(",")):
        model.batch_size = batch
        seconds, times = median_seconds(lambda b=batch: model.sample(b), values.rounds)
        made["sampling"][str(batch)] = {"ms_per_image": round(1000 * seconds / batch, 3), "seconds": times}
    made |= {
        "command": f"python -m benchmarks.feature_speed {' '.join(sys.argv[1:])}".strip(),
        "date": date.today().isoformat(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")},
        "batch": values.batch,
        "resolution": values.resolution,
        "checkpoint": values.checkpoint,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    text = json.dumps(made, indent=1) + "\n"
    print(text, end="")
    if values.out:
        files.write(values.out, lambda file: file.write(text.encode()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
