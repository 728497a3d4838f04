"""Encodes images and decodes them again: makes a sheet with the originals, and prints the errors.

    hcflow reconstruct faces/*.jpg --out reconstructions.png

To continue a command that was stopped, repeat it. The errors are those of all images. The sheet shows as many as fit.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hcflow_jax import pictures
from hcflow_jax.cli import arguments, inputs
from hcflow_jax.cli.progress import bar
from hcflow_jax.commands import as_path

COLUMNS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=as_path, help="PNG, JPEG, WebP, GIF or BMP files")
    parser.add_argument(
        "--out", metavar="FILE.png", type=as_path, default=Path("reconstructions.png"), help="default %(default)s"
    )
    arguments.add_model(parser)


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    out, paths = arguments.check_out("--out", values.out, (".png",)), values.images
    from hcflow_jax.cli import parts, use
    from hcflow_jax.evaluation import round_trip

    model = use.load(values)
    scale, size, image = use.scale(model), model.batch_size, (model.resolution, model.resolution, 3)
    shown = min(len(paths), pictures.most_in_rows(COLUMNS, scale * model.resolution))
    columns = {
        "original": parts.Column(image, "u1", shown),
        "decoded": parts.Column(image, "u1", shown),
        "worst": parts.Column((), "<f4"),
        "changed": parts.Column((), "<i8"),
    }
    items = [inputs.identity(path) for path in paths]
    with parts.opened(out, model.fingerprint, columns, items, size) as kept:
        with bar(len(paths), "reconstructing") as progress:
            progress.update(kept.done)
            left = inputs.batches(paths[kept.done :], model.resolution, size)
            for images, floats in model.reconstruct_batches(left, as_float=True):
                worst, changed = round_trip.differences(images, floats)
                decoded = round_trip.to_values(floats)
                kept.append({"original": images, "decoded": decoded, "worst": worst, "changed": changed})
                progress.update(len(images))
        figures = [np.concatenate(list(kept.rows(name, 1024))) for name in ("worst", "changed")]
        _save(out, kept, shown, (min(len(paths), COLUMNS), model.resolution), scale)
    values_each = int(np.prod(image))
    trip = round_trip.summary(figures[0], figures[1], values_each)
    print(f"worst error {trip.worst_error_text} in units of x (one 8-bit value is 1/256)")
    print(f"changed 8-bit values: {trip.changed_values} of {len(paths) * values_each}")
    of_them = "" if shown == len(paths) else f", of which the sheet shows the first {shown}"
    print(f"{out}: {len(paths)} images{of_them}{arguments.kept(kept.found)}")
    return 0


def _save(out: Path, kept: Any, shown: int, size: tuple[int, int], scale: int) -> None:
    """Writes the sheet: a row of originals, a row of the same images decoded, and so on."""

    def rows() -> Iterator[Any]:
        for pair in zip(kept.rows("original", COLUMNS), kept.rows("decoded", COLUMNS), strict=True):
            yield from pair

    pictures.save_rows(out, rows(), ["original", "decoded"] * -(-shown // COLUMNS), size, scale)
