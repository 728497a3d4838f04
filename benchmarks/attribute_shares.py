"""Compares samples of a bundled model with held-out drawings by their drawing options, as JSON.

    python -m benchmarks.attribute_shares --model=portraits --count=2000 --sigma 0.7 1.0

The drawings are those of the seeds "eval-0" ...; the floor is the distance to as many further ones.
"""

import argparse
import json
import sys
import time
from typing import Any

import jax
import numpy as np

from benchmarks.attributes import draw
from hcflow_jax import api, box
from hcflow_jax.compiling import enable_compilation_cache
from hcflow_jax.evaluation import attribute_distances, comparison, extractors, sets


def side(name: str, images: np.ndarray, extractor: extractors.Extractor) -> comparison.Side:
    made = comparison.extract(sets.of_array(name, images), extractor)
    return comparison.Side(name, made, comparison.moments(made), {**extractor.about(), "images": name})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=box.NAMES, default=box.NAMES[0], help="a bundled model")
    parser.add_argument("--count", type=int, default=2_000, help="images of each set")
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.7, 1.0], help="of the latents")
    parser.add_argument("--seed", type=int, default=0, help="of the samples")
    arguments = parser.parse_args()
    enable_compilation_cache()
    model, count = api.load(arguments.model), arguments.count
    extractor = extractors.load(model.config.data.style)
    drawn = draw(extractor.name, "eval", 2 * count)[0]
    started = time.monotonic()
    real, other = (side(name, part, extractor) for name, part in zip("ab", np.split(drawn, 2), strict=True))
    features = time.monotonic() - started
    found: dict[str, Any] = {"model": arguments.model, "jax": jax.__version__, "seed": arguments.seed}
    found["features_seconds"] = features
    found["floor"] = comparison.compare(other, real)
    for sigma in arguments.sigma:
        started = time.monotonic()
        samples = np.concatenate(list(model.sample_batches(count, arguments.seed, sigma)))
        print(f"{count} samples, sigma {sigma}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        found[f"sigma {sigma}"] = comparison.compare(side(f"sigma {sigma}", samples, extractor), real)
        print(attribute_distances.table(found[f"sigma {sigma}"]["attributes"]), file=sys.stderr)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
