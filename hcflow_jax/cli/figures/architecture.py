"""Draws a diagram of a model: an overview, the steps of one flow, or one level's networks (Figures 2, 3 and 12).

    hcflow figure architecture                                                  # the bundled model
    hcflow figure architecture --config=configs/celebahq_a.py --out a.pdf
    hcflow figure architecture --config=configs/ablation.py:demo_e --view flow --level 16
    hcflow figure architecture --checkpoint runs/mine --view networks --csv parts.csv

The diagram needs only a config: nothing is trained, and no parameters are made.
"""

import argparse
from typing import TYPE_CHECKING

from hcflow_jax import box
from hcflow_jax.cli import arguments
from hcflow_jax.cli.figures import parts
from hcflow_jax.commands import UsageError, as_path, model_name

if TYPE_CHECKING:
    from ml_collections import ConfigDict

VIEWS = ("overview", "flow", "networks")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the figure."""
    config = (
        "a config file or a preset, as configs/celebahq_a.py or configs/ablation.py:demo_e; not with --checkpoint"
    )
    parser.add_argument("--config", metavar="FILE.py[:ARG]", type=model_name, help=config)
    arguments.add_model(parser)
    view = "all of the model, the steps of a level's flow, or a level's networks; default %(default)s"
    parser.add_argument("--view", choices=VIEWS, default=VIEWS[0], help=view)
    level = "of flow and networks: the name of the level, such as 32, y1 or prior; default: the finest"
    parser.add_argument("--level", metavar="NAME", help=level)
    parts.add_out(parser, "architecture")
    parts_help = "writes the model's layers with their shapes and parameters, a row each"
    parser.add_argument("--csv", metavar="FILE.csv", type=as_path, help=parts_help)


def run(values: argparse.Namespace) -> int:
    """Makes the figure; returns the exit status."""
    if values.config and values.checkpoint:
        raise UsageError("--checkpoint: not with --config; leave one of them out")
    out = parts.check_out(values)
    from hcflow_jax.analysis import architecture

    described = architecture.outline(_config(values))
    architecture.save(out, architecture.graph(described, values.view, values.level))
    parts.save_csv(values, described.rows())
    print(f"{out}: {values.view}, {described.title}")
    return 0


def _config(values: argparse.Namespace) -> "ConfigDict":
    from hcflow_jax import checkpoint
    from hcflow_jax.config import presets

    if values.config:
        return presets.read(values.config)
    try:
        return checkpoint.load(box.find(values.checkpoint or box.NAMES[0])).config
    except checkpoint.CheckpointError as error:
        raise UsageError(f"--checkpoint: {error}") from error
