"""Says whether a training run is on track: compares its curves with those of reference runs, also while it trains.

    hcflow compare runs/mine                              with the reference of the same config
    hcflow compare runs/mine --reference demo             with a reference of the package
    hcflow compare runs/mine --reference runs/a runs/b    with your own runs; runs of one config count as its seeds

Prints a table with a verdict at a few steps. Draws the curves by step and by time, which needs the extra `pictures`.
docs/compare.md says what "on track" means.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hcflow_jax.cli import arguments
from hcflow_jax.commands import UsageError, as_path, as_place, model_name
from hcflow_jax.paths import Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand."""
    parser.add_argument(
        "run", metavar="RUN", type=as_place, help="the workdir of a run, before --reference; it may still train"
    )
    reference = (
        "names of references, or workdirs (write ./NAME for a folder with the name of a reference); default: the "
        "reference with the config of the run"
    )
    parser.add_argument("--reference", metavar="NAME|RUN", nargs="+", type=model_name, help=reference)
    parser.add_argument(
        "--out", metavar="PICTURE.png", type=as_path, help="the picture to write; default comparison.png"
    )
    parser.add_argument("--json", metavar="FILE.json", type=as_path, help="write all rows of the tables")


def run(values: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit status."""
    out = arguments.check_out("--json", values.json, (".json",)) if values.json else None
    picture = arguments.check_out("--out", values.out or as_path("comparison.png"), (".png",))
    import json

    from hcflow_jax import buckets, files
    from hcflow_jax.analysis import comparable, comparison, histories
    from hcflow_jax.analysis.on_track import compare
    from hcflow_jax.errors import MissingExtraError

    with buckets.named_errors(values.run):
        mine = histories.read_run(values.run)
    print(comparison.about(mine))
    if values.reference:
        references = comparable.joined([histories.find(given) for given in _others(values.run, values.reference)])
    else:
        shipped = [histories.reference(name) for name in histories.names()]
        references = [each for each in shipped if not comparable.differences(mine, each)][:1]
        if not references:
            print(f"no reference has this run's config; give --reference: a run, or {' or '.join(histories.names())}")
    found = [compare(mine, reference) for reference in references]
    if references and not any(each.meets for each in found):
        reasons = "; ".join(reason for each in found for reason in each.refused)
        begins = f"{references[0].name} yet, whose first is {found[0].reference.seeds[0].clock.step[0]:,.0f}"
        raise UsageError(reasons or f"{values.run}: has no step in common with {begins}")
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


def _others(run: Place, given: Sequence[str]) -> list[str]:
    """The references that are given, each once and without the run itself.

    Raises:
      UsageError: nothing is left.
    """
    from hcflow_jax.analysis import histories

    def whole(place: Place) -> str:
        return str(place.resolve() if isinstance(place, Path) else place)

    named = {each if each in histories.names() else whole(as_place(each)): each for each in given}
    if named.pop(whole(run), None) is not None:
        print(f"note: {run} is the run itself, so it is no reference", file=sys.stderr)
    if not named:
        raise UsageError(f"--reference {' '.join(given)}: name a reference or another run")
    return list(named.values())
