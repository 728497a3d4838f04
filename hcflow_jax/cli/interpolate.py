"""Interpolates between the latents of two images. The ending of --out chooses a video, a gif or a strip.

    hcflow interpolate a.jpg b.jpg --out way.mp4
    hcflow interpolate seed:3 seed:8 --how spherical --steps 9 --out way.png

Each end is a picture file, or seed:N, which is the first image that `hcflow sample --seed N` makes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hcflow_jax import pictures
from hcflow_jax.cli import arguments, inputs
from hcflow_jax.cli.progress import shown
from hcflow_jax.commands import as_path

if TYPE_CHECKING:
    from hcflow_jax import api

ENDINGS = (".mp4", ".gif", ".png")
_SEED = "seed:"
_STEPS_OF_STRIP, _STEPS = 9, 60
_PIXELS = 256  # about the side of a video


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("ends", metavar="END", nargs=2, type=_end, help="a picture file, or seed:N")
    parser.add_argument(
        "--out", metavar="FILE", type=as_path, required=True, help="a name that ends in .mp4, .gif or .png (a strip)"
    )
    steps = f"number of images, with both ends; default {_STEPS}, or {_STEPS_OF_STRIP} for a strip"
    parser.add_argument("--steps", type=arguments.whole(2, "a count"), help=steps)
    how = "along lines, or along arcs that keep the length of the latents; default %(default)s"
    parser.add_argument("--how", choices=("linear", "spherical"), default="linear", help=how)
    space = "what is interpolated at 1x1: the latents (z) or the encoder's vector (y_top); default %(default)s"
    parser.add_argument("--space", choices=("z", "y_top"), default="z", help=space)
    parser.add_argument(
        "--fps",
        type=arguments.whole(1, "frames per second", below=101),
        default=20,
        help="frames per second; default %(default)s",
    )
    arguments.add_sigma(parser)
    arguments.add_model(parser)
    arguments.add_dtype(parser)


def _end(text: str) -> Path | int:
    """Reads an end: the path of a picture, or a seed."""
    return arguments.seed(text.removeprefix(_SEED)) if text.startswith(_SEED) else as_path(text)


def _latents(model: "api.Model", ends: Sequence[Path | int], sigma: arguments.Sigma) -> "list[api.Latents]":
    files = [end for end in ends if isinstance(end, Path)]
    images = iter(inputs.read(files, model.resolution) if files else ())
    return [
        model.encode(next(images)[None]) if isinstance(end, Path) else model.draw(1, seed=end, sigma=sigma)
        for end in ends
    ]


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    out = arguments.check_out("--out", values.out, ENDINGS)
    ending = out.suffix.lower()
    if ending == ".mp4":
        pictures.check_mp4(out)
    from hcflow_jax.cli import use

    model = use.load(values)
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, model.level_names)
    steps = values.steps or (_STEPS_OF_STRIP if ending == ".png" else _STEPS)
    if ending == ".png":
        side = use.scale(model) * model.resolution
        arguments.check_sheet(f"--out {out}", steps, steps, side, "; a video takes more")
    a, b = _latents(model, values.ends, values.sigma)
    with shown(steps, "interpolating") as progress:
        images = model.interpolate(a, b, steps, how=values.how, space=values.space, progress=progress)
    if ending == ".png":
        pictures.save_png(out, pictures.strip(images, scale=use.scale(model)))
    else:
        save = pictures.save_mp4 if ending == ".mp4" else pictures.save_gif
        larger = use.scale(model, _PIXELS)
        save(out, images.repeat(larger, 1).repeat(larger, 2), fps=values.fps)
    print(f"{out}: {steps} images")
    return 0
