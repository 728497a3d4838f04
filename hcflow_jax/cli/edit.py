"""Changes images by level of detail: some levels are resampled, some are set to zero, and the others stay.

    hcflow edit a.jpg b.jpg --resample 8,32 --seeds 0,1,2 --out edits.png
    hcflow edit a.jpg --zero 32

The first row of the sheet has the originals, and each other row has one edit. A level is named by its resolution.
Coarse levels decide the content, fine levels the details. "prior" and "y1" are the two parts of the 1x1 vector.
"""

import argparse
from pathlib import Path

from hcflow_jax import pictures
from hcflow_jax.cli import arguments, inputs
from hcflow_jax.commands import UsageError, as_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=as_path, help="PNG, JPEG, WebP, GIF or BMP files")
    parser.add_argument(
        "--resample", metavar="LEVELS", type=arguments.levels, default=(), help="levels to resample, such as 8,32"
    )
    parser.add_argument(
        "--zero", metavar="LEVELS", type=arguments.levels, default=(), help="levels to set to zero, such as 32"
    )
    seeds = "seeds of --resample, one row for each; default 0,1,2"
    parser.add_argument("--seeds", type=arguments.seeds, default=(0, 1, 2), help=seeds)
    arguments.add_sigma(parser)
    out = Path("edits.png")
    parser.add_argument(
        "--out", metavar="FILE.png", type=as_path, default=out, help="the sheet to write; default %(default)s"
    )
    arguments.add_model(parser)


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    resampled, zeroed = values.resample, values.zero
    if not resampled and not zeroed:
        raise UsageError("nothing to edit: give --resample LEVELS, --zero LEVELS, or both")
    if both := sorted(set(resampled) & set(zeroed)):
        raise UsageError(f"--resample and --zero both name level {both[0]!r}; name it in one of them")
    out = arguments.check_out("--out", values.out, (".png",))
    from hcflow_jax.cli import use

    model = use.load(values)
    arguments.check_levels("--resample", resampled, model.level_names)
    arguments.check_levels("--zero", zeroed, model.level_names)
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, model.level_names)
    lines = 1 + (len(values.seeds) if resampled else 1)
    side = use.scale(model) * model.resolution
    arguments.check_sheet(f"--out {out}", len(values.images) * lines, len(values.images), side, "; give fewer images")
    images = inputs.read(values.images, model.resolution)
    latents = model.zero(use.encode(model, images), zeroed)
    at_zero = [f"{', '.join(zeroed)} = 0"] if zeroed else []
    edits = {"\n".join(at_zero): latents} if not resampled else {}
    for seed in values.seeds if resampled else ():
        label = "\n".join([*at_zero, f"{', '.join(resampled)} resampled", f"seed {seed}"])
        edits[label] = model.resample(latents, resampled, seed=seed, sigma=values.sigma)
    rows = [images, *(use.decode(model, edited) for edited in edits.values())]
    pictures.save_png(out, pictures.rows(rows, ["original", *edits], scale=use.scale(model)))
    print(f"{out}: {len(images)} images, {len(edits)} edits of each")
    return 0
