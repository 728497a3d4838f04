"""Makes a reference for `hcflow compare` of finished runs: hcflow_jax/references/NAME.json, a seed for each run.

    python -m benchmarks.reference --name demo runs/demo_0 runs/demo_1 runs/demo_2 [--note TEXT] [--command TEXT]

The runs may differ in their seed, and in fields that may change when a run resumes. The curves of training are
averaged over windows (`analysis.on_track.edges`). `--command` says what made the runs; a preset of that name needs
none.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hcflow_jax import files, paths
from hcflow_jax.analysis import comparable, histories
from hcflow_jax.analysis.on_track import edges
from hcflow_jax.analysis.points import Run
from hcflow_jax.commands import Parser, UsageError, run_main
from hcflow_jax.config import presets


def joined(name: str, runs: Sequence[Run], command: str, note: str) -> Run:
    """The reference of finished runs.

    Args:
      name: of the reference.
      runs: one for each seed, as `histories.read_run` gives them.
      command: what made the runs.
      note: what else is to be known of them; empty: nothing.

    Raises:
      UsageError: two have one seed, differ in more than it, or one is not at its end.
    """
    first = runs[0]
    seeds = [run.seeds[0] for run in runs]
    for run, seed in zip(runs, seeds, strict=True):
        end = run.config.train.num_steps
        if seed.last_step < end:
            raise UsageError(f"{run.name}: is at step {seed.last_step} of {end}; let it finish")
        if differing := comparable.differences(run, first):
            told = "; ".join(f"{path}: {a}, {b} in {first.name}" for path, (a, b) in differing.items())
            raise UsageError(f"{run.name}: differs in more than its seed: {told}")
    if len({seed.seed for seed in seeds}) < len(seeds):
        raise UsageError(f"two runs have the same seed: {', '.join(str(seed.seed) for seed in seeds)}")
    about = {"command": command} | ({"note": note} if note else {})
    whole = dataclasses.replace(first, name=name, seeds=tuple(seeds), about=about)
    return whole.windowed(edges(first.last_step, int(first.config.train.log_every)))


def preset_command(name: str, run: Run) -> str:
    """The command that trains the preset of a name.

    Raises:
      UsageError: there is no such preset, or the run has another config.
    """
    if name not in presets.names():
        raise UsageError(f"--command: say what made the runs, since there is no preset {name!r}")
    if differing := comparable.differences(run, dataclasses.replace(run, config=presets.config(name))):
        raise UsageError(f"--command: say what made the runs; they are not of configs/{name}.py: {differing}")
    return f"python -m hcflow_jax.main --config=configs/{name}.py --workdir=runs/{name} --config.seed=SEED"


def plain(reference: Run) -> dict[str, Any]:
    """What the file holds: without the folders of one machine."""
    made = histories.to_plain(reference)
    made["config"]["data"] |= {"path": "", "eval_path": ""}
    made["config"]["eval"] |= {"weights": ""}
    return made


def text(values: dict[str, Any]) -> str:
    """JSON with a line for each list of numbers, so that a changed reference is read in a diff."""
    spread = json.dumps(values, indent=1)
    return re.sub(r"\[\s+([^\[\]{}\"]*?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", spread) + "\n"


def _run(argv: Sequence[str]) -> int:
    parser = Parser("python -m benchmarks.reference", __doc__)
    parser.add_argument("workdirs", metavar="WORKDIR", nargs="+", type=paths.local)
    parser.add_argument("--name", required=True, help="of the reference")
    parser.add_argument("--command", help="what made the runs")
    parser.add_argument("--note", default="", help="what else is to be known of them")
    parser.add_argument("--out", type=Path, help="the file; default: in the package")
    values = parser.parse_args(argv)
    runs = [histories.read_run(path) for path in values.workdirs]
    command = values.command or preset_command(values.name, runs[0])
    made = joined(values.name, runs, command, values.note)
    out = values.out or histories.REFERENCES / f"{values.name}.json"
    files.write(out, lambda file: file.write(text(plain(made)).encode()))
    print(f"{out}: {len(made.seeds)} seeds, {len(made.edges) - 1} windows")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_main(_run, argv)


if __name__ == "__main__":
    sys.exit(main())
