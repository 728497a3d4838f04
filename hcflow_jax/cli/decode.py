"""Decodes a file of latents, which `hcflow encode` wrote, to a PNG an image.

hcflow decode faces.npz --out decoded/
"""

import argparse

from hcflow_jax import pictures
from hcflow_jax.cli import arguments
from hcflow_jax.commands import UsageError, as_path
from hcflow_jax.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("latents", metavar="FILE.npz", type=as_path, help="from hcflow encode")
    parser.add_argument("--out", metavar="DIR", type=as_path, required=True, help="where the PNGs go")
    arguments.add_model(parser, default="the one that encoded")
    arguments.add_dtype(parser)


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    from hcflow_jax.cli import latents_file

    found = latents_file.read(values.latents)
    out = arguments.check_out("--out", values.out)
    from hcflow_jax.cli import use

    values.checkpoint = values.checkpoint or found.checkpoint
    model = use.load(values)
    try:
        images = use.decode(model, use.latents(found.levels), dtype=values.dtype)
    except InputError as error:
        raise UsageError(f"{values.latents}: {error}; --checkpoint names another model") from error
    for name, image in zip(latents_file.distinct(found.images), images, strict=True):
        pictures.save_png(out / f"{name}.png", image)
    print(f"{out}: {len(images)} images of {model.resolution} pixels")
    return 0
