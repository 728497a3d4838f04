"""Encodes images and decodes them again: a sheet of originals and what comes back, and how far off it is.

hcflow reconstruct faces/*.jpg --out reconstructions.png
"""

import argparse
from pathlib import Path

from hcflow_jax import pictures
from hcflow_jax.cli import arguments, inputs
from hcflow_jax.commands import as_path

COLUMNS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=as_path, help="PNG, JPEG, WebP, GIF or BMP files")
    parser.add_argument(
        "--out", metavar="FILE.png", type=as_path, default=Path("reconstructions.png"), help="%(default)s"
    )
    arguments.add_model(parser)


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    out = arguments.check_out("--out", values.out, (".png",))
    from hcflow_jax.cli import use
    from hcflow_jax.evaluation import round_trip

    model = use.load(values)
    images = inputs.read(values.images, model.resolution)
    floats = use.decode(model, use.encode(model, images), as_float=True)
    trip, decoded = round_trip.compare([(images, floats)]), round_trip.to_values(floats)
    rows, labels = [], []
    for start in range(0, len(images), COLUMNS):
        rows += [images[start : start + COLUMNS], decoded[start : start + COLUMNS]]
        labels += ["original", "decoded"]
    pictures.save_png(out, pictures.rows(rows, labels, scale=use.scale(model)))
    print(f"worst error {trip.worst_error_text} in units of x (one 8-bit value is 1/256)")
    print(f"changed 8-bit values: {trip.changed_values} of {images.size}")
    print(f"{out}: {len(images)} images")
    return 0
