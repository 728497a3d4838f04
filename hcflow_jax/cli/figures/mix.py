"""Mixes coarse levels of some images with fine levels of others, in a matrix with the images along its edges.

    hcflow figure mix --coarse a.jpg b.jpg c.jpg --fine d.jpg e.jpg --level 32
    hcflow figure mix --coarse seed:3 seed:8 held-out:0 --fine seed:11 seed:14 --level 8 32

A column gives all levels coarser than --level, and a row gives --level and the finer ones.
"""

import argparse

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.cli.figures import parts
from hcflow_jax.commands import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the figure."""
    where = "picture files, seed:N or held-out:N"
    for name, axis in (("--coarse", "columns"), ("--fine", "rows")):
        usual = "the first held-out images of the model's data"
        parser.add_argument(
            name, metavar="IMAGE", nargs="+", type=parts.image, help=f"{where}: the {axis}; default: {usual}"
        )
    level = "the coarsest level that a row gives; several give a block each; default: each level but the coarsest"
    parser.add_argument("--level", nargs="+", help=level)
    arguments.add_sigma(parser)
    arguments.add_model(parser)
    parts.add_out(parser, "mix")


def run(values: argparse.Namespace) -> int:
    """Makes the figure; returns the exit status."""
    out = parts.check_out(values)
    from hcflow_jax.analysis import mix
    from hcflow_jax.cli import use

    model = use.load(values)
    names = model.level_names
    arguments.check_levels("--level", values.level or (), names)
    if values.level and names[0] in values.level:
        raise UsageError(f"--level {names[0]}: it is the coarsest level, so there is none for the columns to give")
    if len(names) == 1:
        raise UsageError("--checkpoint: this model has one level, so there is nothing to mix")
    if isinstance(values.sigma, dict):
        arguments.check_levels("--sigma", values.sigma, names)
    coarse = parts.latents(values.coarse or parts.held_out(0, 5), model, values.sigma)
    fine = parts.latents(values.fine or parts.held_out(5, 4), model, values.sigma)
    levels = values.level or names[1:]
    found = {level: mix.mix(model, coarse, fine, level) for level in levels}
    pictures.save(out, mix.sheet(use.decode(model, coarse), use.decode(model, fine), found, names))
    print(f"{out}: {len(coarse)} columns, {len(fine)} rows, {len(levels)} levels")
    return 0
