"""Draws images from the model: a sheet of them, or each as a PNG, or both.

    hcflow sample --count 16 --seed 3 --out faces.png
    hcflow sample --count 100 --sigma 8=0.7,32=0.5 --each faces/

Image i depends on the seed and i alone, however many are drawn.
"""

import argparse
from pathlib import Path

import numpy as np

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.cli.progress import bar
from hcflow_jax.commands import as_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("--count", type=arguments.count, default=16, help="images; default %(default)s")
    parser.add_argument("--seed", type=arguments.seed, default=0, help="of the latents; default %(default)s")
    arguments.add_sigma(parser)
    parser.add_argument(
        "--out", metavar="FILE.png", type=as_path, help="the sheet; default samples.png without --each"
    )
    parser.add_argument("--columns", type=arguments.count, help="of the sheet; default: as many as rows")
    parser.add_argument("--each", metavar="DIR", type=as_path, help="writes every image as a PNG of its own")
    arguments.add_model(parser)
    arguments.add_dtype(parser)


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    out, each = values.out, values.each
    if each:
        each = arguments.check_out("--each", each)
    elif out is None:
        out = Path("samples.png")
    if out:
        out = arguments.check_out("--out", out, (".png",))
    from hcflow_jax.cli import use

    model = use.load(values)
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, model.level_names)
    of_sheet, done = [], 0
    with bar(values.count, "sampling") as progress:
        for images in model.sample_batches(values.count, seed=values.seed, sigma=values.sigma):
            for i, image in enumerate(images if each else (), start=done):
                pictures.save_png(each / f"seed{values.seed}_{i:05d}.png", image)
            if out:
                of_sheet.append(images)
            done += len(images)
            progress.update(len(images))
    if each:
        print(f"{each}: {done} images of {model.resolution} pixels")
    if out:
        columns = values.columns or max(1, round(done**0.5))
        pictures.save_png(out, pictures.grid(np.concatenate(of_sheet), columns, scale=use.scale(model)))
        print(f"{out}: {done} images of {model.resolution} pixels")
    return 0
