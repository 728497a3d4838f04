"""Which subcommand is meant, and one line and a status for whatever a person can put right."""

import importlib
from collections.abc import Sequence

from hcflow_jax.commands import Parser, UsageError, run_main

COMMANDS = {
    "sample": "images of the model's own making",
    "reconstruct": "images encoded and decoded, beside the originals",
    "interpolate": "the way from one image to another, as a video, a gif or a strip",
    "edit": "images with some levels of detail drawn anew or at zero",
    "encode": "images to a file of latents",
    "decode": "a file of latents to images",
    "evaluate": "bits/dim, FID and its relatives of a model",
    "tune-sigma": "the temperature of each level that gives the best samples, stored with the model",
    "features": "features of images, for distances",
    "distance": "how far generated images are from real ones: FID and its relatives",
    "explore": "a model in the browser: level by level, with sliders",
    "report": "what a run's model does, in pictures and figures",
    "compare": "whether a training run is on track: its curves beside a reference's",
}


def _run(argv: Sequence[str]) -> int:
    """The arguments' subcommand; only its own file is imported, and jax only once it has read its arguments."""
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
    raise UsageError("the subcommand comes first: hcflow COMMAND ...")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; returns the process's exit status (see `commands.run_main`)."""
    return run_main(_run, argv)
