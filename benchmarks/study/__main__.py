"""Runs the study, or a part of it: `python -m benchmarks.study costs|run|recipes|reals|list|page|references`.

costs      times a training step and a batch of samples of each model beside A's, or of those that are named;
           `costs trials`: a step of the trials of recipes
run        trains and measures what is missing, of all runs or of those that are named
recipes    trains short runs with other rates, schedules and optimizers
reals      compares the held-out images with one another, as a perfect model's samples
list       says how far each run is
page       makes the tables and pictures of docs/study.md anew; sheets need the workdirs of the runs
references makes the references `portraits` and `glow_small` of `hcflow compare` anew
"""

import argparse
import json
from pathlib import Path

from benchmarks.study import costs, curves, plan, reals, recipes, references, runs, sheets, tables
from configs.study import RIVALS, SETS
from hcflow_jax.compiling import enable_compilation_cache
from hcflow_jax.files import write

TRIALS = "trials"  # a name for `costs`, and of what it keeps


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("costs", "run", "recipes", "reals", "list", "page", "references"))
    parser.add_argument("names", nargs="*", help="runs, or how their names begin (costs: models); default: all")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/study"), help="of the workdirs; default %(default)s"
    )
    parser.add_argument("--pairs", type=int, default=costs.PAIRS, help="costs: how often each is timed; %(default)s")
    parser.add_argument("--only", choices=costs.WHAT, help="costs: time only this of the models; default: both")
    chosen = parser.parse_intermixed_args()
    if chosen.what == "costs":
        if unknown := set(chosen.names) - {*RIVALS, TRIALS}:
            parser.error(f"costs {' '.join(sorted(unknown))}: the models are {', '.join(RIVALS)}")
        file = runs.RESULTS / "costs.json"
        kept = json.loads(file.read_text())
        models = [name for name in chosen.names or RIVALS if name != TRIALS]
        for what in [chosen.only] if chosen.only else costs.WHAT:
            kept.setdefault(what, {}).update(costs.measure("a", models, what, chosen.pairs))
            _write(file, json.dumps(kept, indent=1) + "\n")
        if TRIALS in chosen.names:
            kept[TRIALS] = costs.of_trials(chosen.pairs)
            _write(file, json.dumps(kept, indent=1) + "\n")
    elif chosen.what == "run":
        enable_compilation_cache()
        for run in plan.find(chosen.names):
            runs.do(run, chosen.folder)
    elif chosen.what == "recipes":
        enable_compilation_cache()
        for run in plan.find(chosen.names, recipes.RUNS):
            runs.do(run, chosen.folder)
    elif chosen.what == "reals":
        enable_compilation_cache()
        for images in SETS:
            tables.keep_reals(images, reals.measure(images))
    elif chosen.what == "list":
        for run in plan.find(chosen.names):
            print(f"{run.name:22} {', '.join(runs.result(run)) or 'not begun'}")
    elif chosen.what == "references":
        for name in references.MADE:
            print(references.make(name))
    else:
        enable_compilation_cache()
        pictures = tables.PAGE.parent / "pictures"
        drawn = [*curves.draw(pictures), *sheets.draw(chosen.folder, pictures)]
        print("\n".join(str(path) for path in drawn))
        _write(tables.PAGE, tables.fill(tables.PAGE.read_text(), dict(tables.all_tables())))


def _write(path: Path, text: str) -> None:
    write(path, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
