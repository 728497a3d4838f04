"""Interpolates between images: a row for each pair, or a grid between four corners, as a picture or a video.

    hcflow figure interpolate a.jpg b.jpg seed:3 seed:8 --out rows.png            # two rows: a to b, seed 3 to seed 8
    hcflow figure interpolate seed:3 seed:8 --space z y_top --how spherical       # one block for each space
    hcflow figure interpolate a.jpg b.jpg c.jpg d.jpg --grid --steps 6            # corners: a, b above c, d
    hcflow figure interpolate a.jpg b.jpg --out way.mp4

For two images, hcflow interpolate is simpler.
"""

import argparse

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.cli.figures import parts
from hcflow_jax.commands import UsageError

_STEPS, _FRAMES, _GRID = 9, 60, 6
_HOW = {"linear": "on lines", "spherical": "on arcs"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the figure."""
    ends = "picture files, seed:N or held-out:N; pairs of ends, or four corners with --grid"
    parser.add_argument("images", metavar="END", nargs="+", type=parts.image, help=ends)
    parser.add_argument("--grid", action="store_true", help="between four corners instead of pairs")
    steps = f"images in a row, both ends among them; default {_STEPS}, of a video {_FRAMES}, of a grid {_GRID}"
    parser.add_argument("--steps", type=arguments.whole(2, "a count"), help=steps)
    how = "on lines, or on arcs that keep the latents' length; default %(default)s"
    parser.add_argument("--how", choices=tuple(_HOW), default="spherical", help=how)
    space = "z: the latents; y_top: the 1x1 vector itself, the other levels as latents; default z"
    parser.add_argument("--space", nargs="+", choices=("z", "y_top"), default=["z"], help=space)
    arguments.add_sigma(parser)
    arguments.add_model(parser)
    parts.add_out(parser, "interpolation", video=True)


def run(values: argparse.Namespace) -> int:
    """Makes the figure; returns the exit status."""
    ends, spaces = values.images, list(dict.fromkeys(values.space))
    if values.grid and len(ends) != 4:
        raise UsageError(f"--grid: {len(ends)} images; give its four corners")
    if len(ends) % 2:
        raise UsageError(f"{len(ends)} images: give pairs, a start and an end each")
    out = parts.check_out(values)
    is_video = out.suffix.lower() in parts.VIDEOS
    if is_video and (values.grid or len(spaces) > 1):
        raise UsageError(f"--out {out}: a video shows rows of one space; give a .png or a .pdf for the rest")
    steps = values.steps or (_GRID if values.grid else _FRAMES if is_video else _STEPS)
    from hcflow_jax.analysis import interpolation
    from hcflow_jax.cli import use

    model = use.load(values)
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, model.level_names)
    latents = parts.latents(ends, model, values.sigma)
    side = use.scale(model) * model.resolution
    count = steps * len(spaces) * (steps if values.grid else len(ends) // 2)
    if not is_video:
        arguments.check_sheet(f"--out {out}", count, steps, side, "; give fewer --steps")
    if values.grid:
        grids = {
            _title(space, values.how): interpolation.grid(model, latents, steps, values.how, space)
            for space in spaces
        }
        pictures.save(out, interpolation.sheet_of_grid(grids))
    else:
        a, b = latents[::2], latents[1::2]
        rows = {
            _title(space, values.how): interpolation.rows(model, a, b, steps, values.how, space) for space in spaces
        }
        if is_video:
            parts.save_video(out, interpolation.there_and_back(next(iter(rows.values()))), values.fps)
        else:
            names = parts.labels(ends)
            pairs = [f"{start}\nto {end}" for start, end in zip(names[::2], names[1::2], strict=True)]
            pictures.save(out, interpolation.sheet_of_rows(rows, pairs))
    print(f"{out}: {count} images")
    return 0


def _title(space: str, how: str) -> str:
    return f"{'latents' if space == 'z' else 'the 1x1 vector'} {_HOW[how]}"
