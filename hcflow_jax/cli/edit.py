"""Changes images by level of detail: some levels are drawn anew, some are at zero, the others stay.

    hcflow edit a.jpg b.jpg --resample 8,32 --seeds 0,1,2 --out edits.png
    hcflow edit a.jpg --zero 32

The sheet's first row is the originals, and each row below it an edit. Levels are named by their resolution, coarser
ones deciding what is seen and finer ones how; "prior" and "y1" are the two parts of the 1x1 vector.
"""

import argparse
from pathlib import Path

from hcflow_jax import pictures
from hcflow_jax.cli import arguments, inputs
from hcflow_jax.commands import UsageError, as_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=as_path, help="PNG, JPEG, WebP, GIF or BMP files")
    parser.add_argument("--resample", metavar="LEVELS", type=arguments.levels, default=(), help="drawn anew, as 8,32")
    parser.add_argument("--zero", metavar="LEVELS", type=arguments.levels, default=(), help="put to zero, as 32")
    seeds = "of --resample, a row each; default 0,1,2"
    parser.add_argument("--seeds", type=arguments.seeds, default=(0, 1, 2), help=seeds)
    arguments.add_sigma(parser)
    out = Path("edits.png")
    parser.add_argument("--out", metavar="FILE.png", type=as_path, default=out, help="default %(default)s")
    arguments.add_model(parser)


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    resampled, zeroed = values.resample, values.zero
    if not resampled and not zeroed:
        raise UsageError("nothing to edit: give --resample LEVELS, --zero LEVELS, or both")
    if both := sorted(set(resampled) & set(zeroed)):
        raise UsageError(f"--resample and --zero both name level {both[0]!r}; it can be one of them")
    out = arguments.check_out("--out", values.out, (".png",))
    from hcflow_jax.cli import use

    model = use.load(values)
    arguments.check_levels("--resample", resampled, model.level_names)
    arguments.check_levels("--zero", zeroed, model.level_names)
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, model.level_names)
    images = inputs.read(values.images, model.resolution)
    latents = model.zero(use.encode(model, images), zeroed)
    at_zero = [f"{', '.join(zeroed)} = 0"] if zeroed else []
    edits = {"\n".join(at_zero): latents} if not resampled else {}
    for seed in values.seeds if resampled else ():
        label = "\n".join([*at_zero, f"{', '.join(resampled)} drawn", f"seed {seed}"])
        edits[label] = model.resample(latents, resampled, seed=seed, sigma=values.sigma)
    rows = [images, *(use.decode(model, edited) for edited in edits.values())]
    pictures.save_png(out, pictures.rows(rows, ["original", *edits], scale=use.scale(model)))
    print(f"{out}: {len(images)} images, {len(edits)} edits of each")
    return 0
