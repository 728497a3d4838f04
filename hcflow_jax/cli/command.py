"""The `hcflow` command: finds the subcommand and runs it."""

import importlib
from collections.abc import Sequence

from hcflow_jax.commands import Parser, UsageError, run_main

COMMANDS = {
    "sample": "draw images from the model",
    "reconstruct": "encode and decode images, and compare them with the originals",
    "interpolate": "interpolate between two images, as a video, a gif or a strip",
    "edit": "draw some levels of an image again, or set them to zero",
    "encode": "encode images to a file of latents",
    "decode": "decode a file of latents to images",
    "evaluate": "measure a model: bits/dim, FID and other distances, nearest images, exactness",
    "tune-sigma": "find the temperature of each level that gives the best samples, and store it with the model",
    "features": "compute features of images, for distances",
    "distance": "compare generated images with real images: FID and other distances",
    "report": "show what the model of a run does, in pictures and numbers",
    "compare": "say whether a training run is on track, compared with reference runs",
}


def _run(argv: Sequence[str]) -> int:
    """Runs the subcommand. Imports only its file, which imports jax after it has read the arguments."""
    if argv and argv[0] in COMMANDS:
        name = argv[0]
        command = importlib.import_module(f"hcflow_jax.cli.{name.replace('-', '_')}")
        parser = Parser(f"hcflow {name}", command.__doc__ or "")
        command.add_arguments(parser)
        return command.run(parser.parse_args(argv[1:]))
    parser = Parser("hcflow", "An invertible hierarchical model of images: sample, encode, edit, interpolate.")
    which = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        which.add_parser(name, prog=f"hcflow {name}", about="", help=summary)
    parser.parse_args(argv)
    raise UsageError("give the subcommand first: hcflow COMMAND ...")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; returns the process's exit status (see `commands.run_main`)."""
    return run_main(_run, argv)
