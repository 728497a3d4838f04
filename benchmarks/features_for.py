"""What features of an extractor cost on a device that is not here, as JSON.

    python -m benchmarks.features_for --target h200 --batch 64 --pixels 256
    python -m benchmarks.features_for --target h200 --extractor efficientnet-lite0

The program is compiled for the device as `benchmarks.compile_for` does it; on GPUs the result is its kernel roofline,
a lower bound of the time. The network is computed in float32 at the highest precision, as everywhere.
"""

import argparse
import json
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from benchmarks import absent
from hcflow_jax.devices import in_a_row
from hcflow_jax.evaluation import extractors, inception, inception_weights
from hcflow_jax.planning.compiled import compile_for, report
from hcflow_jax.planning.programs import Program, placed
from hcflow_jax.planning.targets import Target


def program(mesh: Mesh, batch: int, pixels: int, extractor: str = extractors.INCEPTION) -> Program:
    """The function of `hcflow features`, with abstract weights and images; the batch is that of all devices."""
    if extractor == extractors.INCEPTION:  # its weights need not be here
        flat = {name: np.zeros(shape, np.float32) for name, shape in inception_weights.shapes().items()}
        network, arrays = inception.features, inception.arrange(flat)
    else:
        loaded = extractors.load(extractor)
        network, arrays = loaded.network, loaded.weights
    weights = {n: jax.ShapeDtypeStruct(a.shape, jnp.float32) for n, a in arrays.items()}
    images = jax.ShapeDtypeStruct((batch, pixels, pixels, 3), jnp.uint8)
    arguments = (placed(weights, mesh), placed(images, mesh, True))
    return jax.jit(network), arguments


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Compiles it and reports."""
    target = Target(chosen.target)
    devices = target.devices()
    mesh = in_a_row(devices)
    compiled = compile_for(target, program(mesh, chosen.batch * len(devices), chosen.pixels, chosen.extractor))
    return {
        "date": date.today().isoformat(),
        "target": chosen.target,
        "extractor": chosen.extractor,
        "batch_per_device": chosen.batch,
        "pixels": chosen.pixels,
        "jax": jax.__version__,
        **report(target, compiled, chosen.batch),
    }


def main() -> None:
    """Prints the JSON, and writes it where --out says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="h200", help="as for benchmarks.compile_for")
    parser.add_argument("--extractor", choices=extractors.NAMES, default=extractors.INCEPTION)
    parser.add_argument("--batch", type=int, default=64, help="images of a device")
    parser.add_argument("--pixels", type=int, default=256, help="of an image, before it is resized")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    absent.enter(Target(chosen.target))
    text = json.dumps(measure(chosen), indent=2)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")
    # As in benchmarks.compile_for: a compiler that was left in the middle of its work is not to be waited for.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
