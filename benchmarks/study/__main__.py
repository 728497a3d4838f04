"""Runs the study, or a part of it: `python -m benchmarks.study costs|run|list --folder=FOLDER [NAMES]`."""

import argparse
import json
from pathlib import Path

from benchmarks.study import costs, plan, runs
from configs.study import MODELS
from hcflow_jax.compiling import enable_compilation_cache
from hcflow_jax.files import write


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("what", choices=("costs", "run", "list"))
    parser.add_argument("names", nargs="*", help="runs, or how their names begin; default: all")
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/study"), help="of the workdirs; default %(default)s"
    )
    chosen = parser.parse_args()
    enable_compilation_cache()
    if chosen.what == "costs":
        text = json.dumps(costs.measure(MODELS), indent=1) + "\n"
        write(runs.RESULTS / "costs.json", lambda file: file.write(text.encode()))
        print(text)
        return
    for run in plan.find(chosen.names):
        if chosen.what == "list":
            known = runs.result(run)
            print(f"{run.name:22} {', '.join(known) or 'not begun'}")
        else:
            runs.do(run, chosen.folder)


if __name__ == "__main__":
    main()
