"""Makes references for `hcflow compare` of the study's finished runs: hcflow_jax/references/NAME.json."""

import dataclasses
import json
import tempfile
from pathlib import Path

from benchmarks import reference
from benchmarks.study import runs
from benchmarks.study.plan import RUNS
from hcflow_jax.analysis import histories, points
from hcflow_jax.config import config_to_plain
from hcflow_jax.data import open_source
from hcflow_jax.files import write
from hcflow_jax.layout import CONFIG, HISTORY

MADE = {"portraits": "portraits_a", "glow_small": "portraits_glow"}  # name of a reference: the runs it is made of
NOTE = "other programs used the machine, too, so the times are upper bounds"


def make(name: str) -> Path:
    """Makes a reference of all seeds of the study; gives the file.

    Args:
      name: of `MADE`.

    Raises:
      UsageError: a run is not at its end.
      SystemExit: naming a run that is not finished.
    """
    chosen = [run for run in RUNS if run.config == MADE[name]]
    command = (
        f"python -m hcflow_jax.main --config=configs/study.py:{MADE[name]} --config.seed=SEED --workdir=runs/{name}"
    )
    images = open_source(chosen[0].resolved(), "train")
    about = {"name": images.name, "count": len(images), "identity": images.identity}
    with tempfile.TemporaryDirectory() as folder:
        read = [_read(Path(folder) / run.name, run) for run in chosen]
    made = reference.joined(name, [dataclasses.replace(run, images=about) for run in read], command, NOTE)
    file = histories.REFERENCES / f"{name}.json"
    write(file, lambda out: out.write(reference.text(reference.plain(made)).encode()))
    return file


def _read(workdir: Path, run: runs.Run) -> points.Run:
    """A run of the study, from what is kept of its history."""
    training = runs.result(run).get("training")
    if training is None or training["diverged"]:
        raise SystemExit(f"{run.name}: is not finished; bash launch/study.sh run {run.name}")
    workdir.mkdir()
    (workdir / CONFIG).write_text(json.dumps(config_to_plain(run.resolved())))
    (workdir / HISTORY).write_text("".join(json.dumps(row) + "\n" for row in training["history"]))
    found = histories.read_run(workdir)
    about = {"versions": training["versions"]}
    return dataclasses.replace(found, seeds=tuple(dataclasses.replace(seed, about=about) for seed in found.seeds))
