"""Which subcommand is meant, and one line and a status for whatever a person can put right."""

import importlib
from collections.abc import Mapping, Sequence

from hcflow_jax.cli import figures
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
    "figure": "the paper's figures: samples, variation, zeroing, curves, neighbours, walks and more",
    "report": "what a run's model does, in pictures and figures",
    "compare": "whether a training run is on track: its curves beside a reference's",
}


def _run(argv: Sequence[str]) -> int:
    if argv[:1] == ["figure"]:
        about = f"{figures.__doc__}\nhcflow figure NAME --help tells what a figure shows and takes."
        return _choose(argv[1:], "hcflow figure", about, figures.FIGURES, "NAME")
    about = "An invertible hierarchical model of images: sample, encode, edit, interpolate."
    return _choose(argv, "hcflow", about, COMMANDS, "COMMAND")


def _choose(argv: Sequence[str], prog: str, about: str, commands: Mapping[str, str], metavar: str) -> int:
    """Runs the command that the first argument names.

    Only its own file is imported, and jax only once it has read its arguments.
    """
    if argv and argv[0] in commands:
        name = argv[0]
        package = figures.__name__ if commands is figures.FIGURES else __package__
        command = importlib.import_module(f"{package}.{name.replace('-', '_')}")
        parser = Parser(f"{prog} {name}", command.__doc__ or "")
        command.add_arguments(parser)
        return command.run(parser.parse_args(argv[1:]))
    parser = Parser(prog, about)
    which = parser.add_subparsers(metavar=metavar, required=True)
    for name, summary in commands.items():
        which.add_parser(name, prog=f"{prog} {name}", about="", help=summary)
    parser.parse_args(argv)
    raise UsageError(f"{metavar} comes first: {prog} {metavar} ...")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; returns the process's exit status (see `commands.run_main`)."""
    return run_main(_run, argv)
