"""Which runs made a model: each one's command, steps, pictures and hours, the first first."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import box, checkpoint
from hcflow_jax.config import config_to_plain


def runs(workdir: Path, name: str) -> list[dict[str, Any]]:
    """The run in a workdir, and before it those whose weights it started from.

    Args:
      workdir: of the last run.
      name: of the config that it was made with, in configs/; of runs before it in workdirs, too.

    Returns:
      {"command", "steps", "images", "hours"} of each.
    """
    found = checkpoint.load(workdir)
    history = [json.loads(line) for line in (workdir / "history.jsonl").read_text().splitlines()]
    this = {
        "command": command(workdir, name, found.config),
        "steps": found.step,
        "images": found.metadata["next_index"],
        "hours": seconds_spent(history) / 3600,
    }
    source = found.config.train.init_from
    if not source:
        return [this]
    before = Path(box.find(source))
    earlier = runs(before, name) if before.is_dir() else checkpoint.load(before).metadata["runs"]
    return [*earlier, this]


def command(workdir: Path, name: str, config: ConfigDict) -> str:
    """The command of a run, its flags being whatever `configs/{name}.py` says otherwise; places are in runs/."""
    usual = dict(_fields(config_to_plain(importlib.import_module(f"configs.{name}").get_config())))
    words = [f"python -m hcflow_jax.main --config=configs/{name}.py --workdir=runs/{workdir.name}"]
    for field, value in _fields(config_to_plain(config)):
        if value != usual[field] and field != "data.path":
            words.append(f"--config.{field}={_run_of(value) if field == 'train.init_from' else value}")
    return " ".join(words)


def _run_of(source: str) -> str:
    """What a run started from: a bundled model, or the run that made the weights, which is in runs/."""
    if source in box.NAMES or not Path(source).exists():
        return source
    if Path(source).is_dir():
        return f"runs/{Path(source).name}"
    last = checkpoint.load(Path(source)).metadata["runs"][-1]["command"]
    return next(word for word in last.split() if word.startswith("--workdir=")).removeprefix("--workdir=")


def _fields(plain: dict[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{group}{key}.")
        else:
            yield group + key, value


def seconds_spent(history: list[dict[str, Any]]) -> float:
    """Seconds of a run over all its processes; each counts from 0."""
    total = last = 0.0
    for row in history:
        if row["seconds"] < last:
            total += last
        last = row["seconds"]
    return total + last
