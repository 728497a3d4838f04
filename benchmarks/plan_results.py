"""Makes a file of results for `hcflow plan` from reports of `compile_for`.

    python -m benchmarks.compile_for --target h200 --batch 16 --out report.json
    python -m benchmarks.plan_results report.json --out hcflow_jax/planning/records/celebahq_a.json

The reports must be of training steps of one config, without --set and --model. They replace those results of the file
that have the same target and batch.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from hcflow_jax.commands import UsageError, run_main
from hcflow_jax.config import presets
from hcflow_jax.models.execution import resolve_execution
from hcflow_jax.planning import kept
from hcflow_jax.planning.result import Result, for_target, from_report
from hcflow_jax.planning.targets import Target


def result_of(path: Path) -> tuple[str, Result]:
    """The config of a report, and its result. The date is that of the file.

    Raises:
      UsageError: the report is not of a training step as users run it.
    """
    report = json.loads(path.read_text())
    given, target, batch = report["config"], Target(report["target"]), report["batch_per_device"]
    config = for_target(presets.read(given), target, batch, report["execution"]["dtype"])
    if report["program"] != "train" or report["model"] or report["execution"] != resolve_execution(config.execution):
        raise UsageError(f"{path}: is not of a training step with the fields of {given} alone")
    command = (
        f"python -m benchmarks.compile_for --target {report['target']} --config {given} --batch {batch} "
        f"--precision {report['execution']['dtype']}"
    )
    date = datetime.date.fromtimestamp(path.stat().st_mtime).isoformat()
    made = from_report(config, target, batch, report, command, date)
    return given, Result(**{**vars(made), "jax": report["jax"]})


def _run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", metavar="REPORT.json", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(argv)
    found = [result_of(path) for path in chosen.reports]
    if len({given for given, _ in found}) > 1:
        raise UsageError("the reports are of several configs; give those of one")
    results = {(old["target"], old["batch_per_device"]): Result(**old) for old in _old(chosen.out)}
    results |= {(each.target, each.batch_per_device): each for _, each in found}
    kept.write(chosen.out, presets.read(found[0][0]), [results[key] for key in sorted(results)])
    print(f"{chosen.out}: {len(results)} results")
    return 0


def _old(path: Path) -> list[dict]:
    return json.loads(path.read_text())["results"] if path.exists() else []


if __name__ == "__main__":
    sys.exit(run_main(_run))
