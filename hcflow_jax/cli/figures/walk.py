"""Makes a walk through the latents: on arcs from one random draw to the next, and back to the start.

    hcflow figure walk --out walk.mp4 --stops 8 --steps 30
    hcflow figure walk --levels 8,32 --start a.jpg --out details.gif      # one face, other details
    hcflow figure walk --out walk.png                                     # a strip of images along the way

A walk ends where it begins, so a video can repeat without a jump.
"""

import argparse

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.cli.figures import parts

_SHOWN = 12  # the most images of a strip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the figure."""
    stops = "number of random draws that the walk goes through; default %(default)s"
    parser.add_argument("--stops", type=arguments.whole(2, "a count"), default=6, help=stops)
    steps = "number of images from one stop to the next; default %(default)s"
    parser.add_argument("--steps", type=arguments.count, default=20, help=steps)
    parser.add_argument("--seed", type=arguments.seed, default=0, help="seed of the stops; default %(default)s")
    levels = "the levels that change, such as 8,32; the others stay as they are at the start; default: all"
    parser.add_argument("--levels", type=arguments.levels, help=levels)
    start = "where the walk begins and ends: a picture file, seed:N or held-out:N; default: the first draw"
    parser.add_argument("--start", metavar="IMAGE", type=parts.image, help=start)
    arguments.add_sigma(parser)
    arguments.add_model(parser)
    parts.add_out(parser, "walk", video=True)


def run(values: argparse.Namespace) -> int:
    """Makes the figure; returns the exit status."""
    out = parts.check_out(values)
    from hcflow_jax.analysis import walk
    from hcflow_jax.cli import use

    model = use.load(values)
    if values.levels:
        arguments.check_levels("--levels", values.levels, model.level_names)
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, model.level_names)
    start = parts.latents([values.start], model, values.sigma) if values.start else None
    way = walk.latents(
        model, values.stops, values.steps, values.seed, values.sigma, levels=values.levels, start=start
    )
    if out.suffix.lower() in parts.VIDEOS:
        images = use.decode(model, way)
        parts.save_video(out, images, values.fps)
    else:
        images = use.decode(model, way[list(walk.places(values.stops, values.steps, _SHOWN))])
        pictures.save(out, pictures.strip(images, scale=use.scale(model)))
    print(f"{out}: {len(images)} images, {values.stops} stops")
    return 0
