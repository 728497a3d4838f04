"""Compares two sets of images: Frechet distance, kernel distance (KID), precision and recall.

    hcflow distance samples/ photographs/ --json distances.json
    hcflow distance samples.npy celebahq.npz --reference-protocol tf1

A is generated, and B is real. Each of them is a folder of pictures of one size, a prepared set, an .npz of images
(arr_0), features (.npy, from `hcflow features`), or statistics (an .npz with mu and sigma, or EDM2's .pkl). The
Frechet distance is called FID only if the features are those of FID's Inception network. For illustrations,
`--extractor toon-head` or `landscape` adds a distance for each attribute, such as hair, and lists the values that A
lacks.
"""

import argparse
import json
import sys
from typing import Any

from hcflow_jax.cli import arguments, features
from hcflow_jax.cli.progress import shown
from hcflow_jax.commands import UsageError, as_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("generated", metavar="A", type=as_path, help="generated images")
    parser.add_argument("real", metavar="B", type=as_path, help="real images")
    metrics = "any of frechet, kid and prc (precision and recall); default: all that A and B allow"
    parser.add_argument("--metrics", metavar="LIST", type=_metrics, help=metrics)
    protocol = "how images were resized for statistics of other programs: tf1, pytorch-fid or clean-fid"
    parser.add_argument(
        "--reference-protocol", metavar="NAME", choices=("tf1", "pytorch-fid", "clean-fid"), help=protocol
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of KID's subsets; default %(default)s")
    parser.add_argument("--json", metavar="FILE", type=as_path, help="write the numbers and what they depend on")
    features.add_extractor(parser)


def _metrics(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in ("frechet", "fid", "kid", "prc"):
            raise argparse.ArgumentTypeError(f"{name!r}: expected frechet, kid or prc")
    return tuple("frechet" if name == "fid" else name for name in names)


def _is_foreign(side: Any) -> bool:
    """Whether a side is statistics of another program, which do not say how images were resized."""
    return side.features is None and "resizing" not in side.about


def _check(side: Any, values: argparse.Namespace) -> None:
    """Raises UsageError if the options do not fit what a side says about itself."""
    stated = side.about.get("extractor", values.extractor)
    if values.extractor and stated != values.extractor:
        raise UsageError(
            f"--extractor {values.extractor}: {side.name} has features of {stated}; leave out --extractor, or give "
            "other features"
        )
    if _is_foreign(side) and not values.reference_protocol:
        raise UsageError(
            f"{side.name}: the statistics do not say how the images were resized, and projects differ in this; "
            "give --reference-protocol tf1, pytorch-fid or clean-fid"
        )


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    out = arguments.check_out("--json", values.json, (".json",)) if values.json else None
    from functools import cache

    from hcflow_jax import files
    from hcflow_jax.compiling import enable_compilation_cache
    from hcflow_jax.evaluation import attribute_distances, comparison, extractors

    enable_compilation_cache()
    extractor = cache(lambda: extractors.load(values.extractor, values.weights, values.reference_protocol))
    sides = []
    for path in (values.real, values.generated):
        with shown(0, path.name) as tell:
            sides.append(comparison.side(path, extractor, values.batch_size, tell))
        _check(sides[-1], values)
    real, generated = sides
    foreign = [s for s in sides if _is_foreign(s)]
    for s in foreign:
        s.about["resizing"] = values.reference_protocol
    metrics = values.metrics or (comparison.METRICS if all(s.features is not None for s in sides) else ("frechet",))
    name = values.extractor or extractors.INCEPTION
    found = comparison.compare(generated, real, metrics, values.seed, name)
    if foreign:
        found["protocol"]["reference_protocol"] = values.reference_protocol
    for key, value in found.items():
        if key == "attributes":
            print(attribute_distances.table(value))
        elif key != "protocol":
            print(f"{key:>12}  {value:.6g}" if isinstance(value, float) else f"{key:>12}  {value}")
    for s, what in ((generated, "generated"), (real, "real")):
        said = ", ".join(f"{key} {value}" for key, value in s.about.items())
        print(f"{what}: {said or s.name}")
    if foreign:
        print(f"reference protocol: {values.reference_protocol}, as the command line says")
    sizes = [s.about.get("resolution") for s in (generated, real)]
    if None not in sizes and sizes[0] != sizes[1]:
        print(
            f"note: A has {sizes[0]} pixels and B has {sizes[1]}, so the numbers also measure how sharp they are. "
            f"Prepare B with python -m hcflow_jax.data.prepare --resolution {sizes[0]}",
            file=sys.stderr,
        )
    if "fid" in found and not all("extractor" in s.about for s in sides):
        print(
            "note: this is FID only if all features are those of FID's Inception network; some do not say it",
            file=sys.stderr,
        )
    if out:
        text = json.dumps(found, indent=1, allow_nan=False) + "\n"
        files.write(out, lambda file: file.write(text.encode()))
    return 0
