"""How exactly a model's decoding undoes its encoding, as JSON: on pictures, and on images far from any.

python -m benchmarks.round_trip                             # the bundled model, its held-out pictures
python -m benchmarks.round_trip --checkpoint=DIR --count=64 --data source=folder path=PICTURES
"""

import argparse
import json
from typing import Any

import numpy as np

from benchmarks.step_programs import assignments
from hcflow_jax import api
from hcflow_jax.compiling import enable_compilation_cache
from hcflow_jax.evaluation.round_trip import round_trip, strange_images

DTYPES = ("float32", "bfloat16")


def all_round_trips(model: api.Model, pictures: np.ndarray) -> dict[str, Any]:
    """Round trips of pictures and of strange images, decoded in float32 and in bfloat16, by what they are."""
    kinds = [(f"{len(pictures)} held-out pictures", pictures), *strange_images(model.resolution)]
    return {
        f"{kind}, {dtype} decoding": round_trip(model, images, dtype).as_dict()
        for kind, images in kinds
        for dtype in DTYPES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", help="a workdir, a step of one, or a weights file; default: the box")
    parser.add_argument("--count", type=int, default=1_000, help="held-out pictures")
    parser.add_argument("--data", nargs="*", default=[], metavar="NAME=VALUE", help="other fields of `data`")
    arguments = parser.parse_args()
    enable_compilation_cache()
    model = api.load(arguments.checkpoint)
    config = model.config.copy_and_resolve_references()
    config.data.update(assignments("--data", arguments.data))
    print(json.dumps(all_round_trips(model, api.held_out(config, arguments.count)), indent=1))


if __name__ == "__main__":
    main()
