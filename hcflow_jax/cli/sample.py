"""Samples images from the model: a sheet of them, each as a PNG, or all as one array.

    hcflow sample --count 16 --seed 3 --out faces.png
    hcflow sample --count 100 --sigma 8=0.7,32=0.5 --each faces/
    hcflow sample --first 1000 --count 500 --each faces/
    hcflow sample --count 10000 --npz faces.npz
    hcflow sample --count 16 --denoise --out clean.png

The array is arr_0, uint8 (n, R, R, 3), which ADM's evaluator reads. Image i depends only on the seed and on i,
up to rounding: in batches of another size, a few 8-bit values may differ by 1. With --each, a PNG is written as soon
as its image is made. To continue a command that was stopped, give the number of the first missing image as --first.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.cli.progress import bar
from hcflow_jax.commands import UsageError, as_path

if TYPE_CHECKING:
    from hcflow_jax import api


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("--count", type=arguments.count, default=16, help="number of images; default %(default)s")
    parser.add_argument(
        "--first", type=arguments.number, default=0, help="number of the first image; default %(default)s"
    )
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the latents; default %(default)s")
    arguments.add_sigma(parser)
    parser.add_argument(
        "--out",
        metavar="FILE.png",
        type=as_path,
        help="write a sheet; default samples.png, unless --each or --npz is given",
    )
    parser.add_argument("--columns", type=arguments.count, help="columns of the sheet; default: as many as rows")
    parser.add_argument("--each", metavar="DIR", type=as_path, help="write each image to its own PNG in this folder")
    parser.add_argument("--npz", metavar="FILE.npz", type=as_path, help="write all images as one array, arr_0")
    denoise = "remove some of the training noise (data.noise_std) with one step, before rounding"
    parser.add_argument("--denoise", action="store_true", help=denoise)
    arguments.add_model(parser)
    arguments.add_dtype(parser)


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    out, each, npz, count = values.out, values.each, values.npz, values.count
    if values.first + count > arguments.NUMBERS:
        raise UsageError(
            f"--first {values.first} --count {count}: the last image of a seed is {arguments.NUMBERS - 1}"
        )
    if each:
        each = arguments.check_out("--each", each)
    if npz:
        npz = arguments.check_out("--npz", npz, (".npz",))
    if not (each or npz or out):
        out = Path("samples.png")
    if out:
        out = arguments.check_out("--out", out, (".png",))
    from hcflow_jax.cli import use
    from hcflow_jax.evaluation import image_file

    model = use.load(values)
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, model.level_names)
    columns, scale = values.columns or max(1, round(count**0.5)), use.scale(model)
    if out:
        arguments.check_sheet(
            f"--out {out}", count, columns, scale * model.resolution, "; --each DIR accepts any number"
        )
    with image_file.streamed(npz, count, model.resolution) if npz else nullcontext() as add:
        drawn = _drawn(model, values, each, add)
        if out:
            pictures.save_grid(out, drawn, count, columns, scale)
        else:
            for _ in drawn:
                pass
    for made in filter(None, (each, npz, out)):
        print(f"{made}: {count} images of {model.resolution} pixels")
    return 0


def _drawn(
    model: "api.Model",
    values: argparse.Namespace,
    each: Path | None,
    add: Callable[[pictures.Images], None] | None,
) -> Iterator[pictures.Images]:
    """Yields the images, one batch after another. Before that, writes the batch as PNGs and passes it to `add`."""
    number = values.first
    with bar(values.count, "sampling") as progress:
        batches = model.sample_batches(values.count, values.seed, values.sigma, number, denoise=values.denoise)
        for images in batches:
            for i, image in enumerate(images if each else (), start=number):
                pictures.save_png(Path(each or "") / f"seed{values.seed}_{i:05d}.png", image)
            if add:
                add(images)
            number += len(images)
            progress.update(len(images))
            yield images
    if batches.note:
        print(f"note: {batches.note}", file=sys.stderr)
