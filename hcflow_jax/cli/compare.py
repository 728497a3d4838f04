"""Whether a training run is on track: its curves beside those of a reference, also while it trains.

    hcflow compare runs/mine                              beside the reference of the same config
    hcflow compare runs/mine --reference demo             beside a reference by its name
    hcflow compare runs/mine --reference runs/a runs/b    beside runs of yours; those of one config are its seeds

Prints a table with a verdict at a few steps, and draws the curves by step and by time (that takes the extra
`pictures`). docs/training.md says what "on track" means.
"""

import argparse
import sys

from hcflow_jax.cli import arguments
from hcflow_jax.commands import UsageError, as_path, model_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("run", metavar="RUN", type=as_path, help="the workdir of a run; it may still train")
    reference = (
        "references by their names, or workdirs (./NAME for a folder of such a name); default: the reference whose "
        "config is the run's"
    )
    parser.add_argument("--reference", metavar="NAME|RUN", nargs="+", type=model_name, help=reference)
    parser.add_argument("--out", metavar="PICTURE.png", type=as_path, help="default: comparison.png")
    parser.add_argument("--json", metavar="FILE.json", type=as_path, help="writes all rows of the tables")


def run(values: argparse.Namespace) -> int:
    """Does it; returns the exit status."""
    out = arguments.check_out("--json", values.json, (".json",)) if values.json else None
    picture = arguments.check_out("--out", values.out or as_path("comparison.png"), (".png",))
    import json

    from hcflow_jax import files
    from hcflow_jax.analysis import comparable, comparison, histories
    from hcflow_jax.analysis.on_track import compare
    from hcflow_jax.errors import MissingExtraError

    mine = histories.read_run(values.run)
    print(comparison.about(mine))
    if values.reference:
        references = comparable.joined([histories.find(given) for given in values.reference])
    else:
        shipped = [histories.reference(name) for name in histories.names()]
        references = [each for each in shipped if not comparable.differences(mine, each)][:1]
        if not references:
            print(f"no reference has its config; --reference names one ({', '.join(histories.names())}) or a run")
    found = [compare(mine, reference) for reference in references]
    if references and not any(each.meets for each in found):
        reasons = "; ".join(reason for each in found for reason in each.refused)
        raise UsageError(reasons or f"{values.run}: no steps in common with {references[0].name} yet")
    for line in [line for each in found for line in ("", *comparison.lines(each))] or comparison.alone(mine):
        print(line)
    try:
        comparison.draw(picture, mine, [each for each in found if each.tables])
        print(f"picture: {picture}")
    except MissingExtraError as error:
        print(f"note: no picture: {error}", file=sys.stderr)
    if out:
        about = {"run": mine.name, "step": mine.last_step, "comparisons": [comparison.plain(each) for each in found]}
        text = json.dumps(about, indent=1) + "\n"
        files.write(out, lambda file: file.write(text.encode()))
    return 0
