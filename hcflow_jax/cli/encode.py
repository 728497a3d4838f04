"""Encodes images to a file of latents, which `hcflow decode` takes.

    hcflow encode faces/*.jpg --out faces.npz

The file has an array a level, (n, ...), by the level's name; `images`, their names; and `checkpoint`, whose they are.
"""

import argparse

from hcflow_jax.cli import arguments, inputs
from hcflow_jax.commands import as_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("images", metavar="IMAGE", nargs="+", type=as_path, help="PNG, JPEG, WebP, GIF or BMP files")
    parser.add_argument("--out", metavar="FILE.npz", type=as_path, required=True, help="the file to write")
    arguments.add_model(parser)


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    out = arguments.check_out("--out", values.out, (".npz",))
    from hcflow_jax.cli import latents_file, use

    model = use.load(values)
    images = inputs.read(values.images, model.resolution)
    names = [path.name for path in values.images]
    latents_file.write(out, use.encode(model, images).as_dict(), names, use.checkpoint_name(values.checkpoint))
    print(f"{out}: {len(images)} images, levels {', '.join(model.level_names)}")
    return 0
