"""The `hcflow` command: finds the subcommand and runs it."""

import importlib
from collections.abc import Mapping, Sequence

from hcflow_jax.cli import figures
from hcflow_jax.commands import Parser, UsageError, run_main

COMMANDS = {
    "sample": "sample images from the model",
    "reconstruct": "encode and decode images, and compare them with the originals",
    "interpolate": "interpolate between two images, as a video, a gif or a strip",
    "edit": "resample some levels of an image, or set them to zero",
    "encode": "encode images to a file of latents",
    "decode": "decode a file of latents to images",
    "evaluate": "measure a model: bits/dim, FID and other distances, nearest images, exactness",
    "tune-sigma": "find the temperature of each level that gives the best samples, and store it with the model",
    "features": "compute features of images, for distances",
    "distance": "compare generated images with real images: FID and other distances",
    "explore": "show a model in the browser: level by level, with sliders",
    "figure": "make the paper's figures: samples, variation, zeroing, curves, neighbours, walks and more",
    "report": "show what the model of a run does, in pictures and numbers",
    "compare": "say whether a training run is on track, compared with reference runs",
    "plan": "say what a training run would cost on GPUs and TPUs that are not here",
}


def _run(argv: Sequence[str]) -> int:
    if argv[:1] == ["figure"]:
        about = f"{figures.__doc__}\nhcflow figure NAME --help describes a figure and its options."
        return _choose(argv[1:], "hcflow figure", about, figures.FIGURES, "NAME")
    about = "An invertible hierarchical model of images: sample, encode, edit, interpolate."
    return _choose(argv, "hcflow", about, COMMANDS, "COMMAND")


def _choose(argv: Sequence[str], prog: str, about: str, commands: Mapping[str, str], metavar: str) -> int:
    """Runs the command of the first argument.

    Only its own file is imported, which imports jax after it has read the arguments.
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
    raise UsageError(f"give {metavar} first: {prog} {metavar} ...")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand; returns the process's exit status (see `commands.run_main`)."""
    return run_main(_run, argv)
