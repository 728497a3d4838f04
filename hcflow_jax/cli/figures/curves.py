"""Draws curves of runs during training, by step and by time: distances of samples (Figure 7), or bits/dim.

    hcflow figure curves runs/ours runs/glow --names ours Glow
    hcflow figure curves runs/seed0 runs/seed1 runs/glow --quantity "held-out bits/dim" --csv curves.csv
    hcflow figure curves demo                                         # a reference that comes with the package

Runs with the same config and the same images become one curve: their median, with a band from the lowest to the
highest value.
"""

import argparse

from hcflow_jax.cli.figures import parts
from hcflow_jax.commands import model_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the figure."""
    what = "workdirs of runs, which may still train, or references (./NAME for a folder of such a name)"
    parser.add_argument("runs", metavar="RUN", nargs="+", type=model_name, help=what)
    names = (
        "what the curves are called, in the same order; default: the runs' names. Seeds of one config are one curve"
    )
    parser.add_argument("--names", metavar="NAME", nargs="+", help=names)
    quantity = (
        "what the panels show, or a part of its name, as 'fid' or 'held-out bits/dim'; default: a distance if the "
        "runs have one, else held-out bits/dim. A wrong name lists what there is"
    )
    parser.add_argument("--quantity", metavar="WHAT", help=quantity)
    parts.add_out(parser, "curves", csv=True)


def run(values: argparse.Namespace) -> int:
    """Makes the figure; returns the exit status."""
    out = parts.check_out(values)
    from hcflow_jax.analysis import comparable, curves, histories

    runs = comparable.joined([histories.find(given) for given in values.runs])
    named = dict(zip(parts.named([run.name for run in runs], values.names, "the curves"), runs, strict=True))
    quantity = curves.find(runs, values.quantity)
    curves.save(out, named, quantity)
    parts.save_csv(values, curves.rows(named, quantity))
    print(f"{out}: {curves.label(quantity)} of {', '.join(named)}")
    return 0
