"""Curves of runs during training, by step and by time (the paper's Figure 7): distances of samples, or bits/dim.

    hcflow figure curves runs/ours runs/glow --names ours Glow
    hcflow figure curves runs/seed0 runs/seed1 runs/glow --quantity "held-out bits/dim" --csv curves.csv
    hcflow figure curves demo                                         a reference that comes with the package

Runs of the same config and images become one curve with a band from the least to the greatest.
"""

import argparse

from hcflow_jax.cli.figures import parts
from hcflow_jax.commands import model_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the figure takes."""
    what = "workdirs of runs, which may still train, or references (./NAME for a folder of such a name)"
    parser.add_argument("runs", metavar="RUN", nargs="+", type=model_name, help=what)
    names = (
        "what the curves are called, in the same order; default: the runs' names. Seeds of one config are one curve"
    )
    parser.add_argument("--names", metavar="NAME", nargs="+", help=names)
    quantity = (
        "what is drawn, or a part of its name, as 'fid' or 'held-out bits/dim'; default: a distance if the runs have "
        "one, else held-out bits/dim. A wrong name lists what there is"
    )
    parser.add_argument("--quantity", metavar="WHAT", help=quantity)
    parts.add_out(parser, "curves", csv=True)


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    out = parts.check_out(values)
    from hcflow_jax.analysis import comparable, curves, histories

    runs = comparable.joined([histories.find(given) for given in values.runs])
    named = dict(zip(parts.named([run.name for run in runs], values.names, "the curves"), runs, strict=True))
    quantity = curves.find(runs, values.quantity)
    curves.save(out, named, quantity)
    parts.save_csv(values, curves.rows(named, quantity))
    print(f"{out}: {curves.label(quantity)} of {', '.join(named)}")
    return 0
