"""Workdirs as training leaves them, written in a moment: for tests of what compares runs."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import config as schema
from hcflow_jax.config import presets

IMAGES = {"name": "portraits toon-head-32px-train-5000", "count": 5000, "identity": "of a test"}


def curve(step: float) -> float:
    """Bits/dim of a run that learns."""
    return 5 + 4 / (1 + step / 100)


def config(**fields: Any) -> ConfigDict:
    """The demo's config, with the fields that are given as train__batch_size=16."""
    made = presets.config("demo").unlock()
    for path, value in fields.items():
        *groups, name = path.split("__")
        node = made
        for group in groups:
            node = node[group]
        node[name] = value
    return made.lock()


def rows(
    steps: int = 1100,
    every: int = 20,
    shift: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
    value: Callable[[float], float] = curve,
    seconds: float = 0.4,
    evals: Iterable[int] = (0, 1100),
    defined: bool = True,
) -> list[dict[str, Any]]:
    """A history: training rows, and evaluations at some steps. `seconds` is the time of a step."""
    draw = np.random.default_rng(seed)
    made: list[dict[str, Any]] = []
    for step in range(0, steps + 1):
        bits = value(step) + shift
        if step and step % every == 0:
            seen = bits + noise * draw.standard_normal()
            made.append({"step": step, "kind": "train", "bits_per_dim": seen, "loss": seen - 3})
            made[-1] |= {"images_per_second": 8 / seconds, "seconds": seconds * step}
        if step in tuple(evals):
            made.append({"step": step, "kind": "eval", "bits_per_dim": bits, "loss": bits - 3})
            made[-1] |= {"images": 256, "seconds": seconds * step}
    return made if defined else [row | {"bits_per_dim": None} for row in made]


def measured(step: int, frechet: float, count: int = 2000) -> dict[str, Any]:
    """A row of distances."""
    about = {"frechet_toon-head": frechet, "frechet_toon-head_floor": 1.0, "kid": frechet / 100, "count": count}
    return {"step": step, "kind": "measure", **about, "precision": 0.5, "seconds": 0.4 * step}


def write(
    folder: Path, history: list[dict[str, Any]], made: ConfigDict | None = None, images: Any = None, tail: str = ""
) -> Path:
    """A workdir with a history, a config, and a checkpoint's description. `tail` ends the history."""
    made = made or config()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history) + tail)
    (folder / "config.json").write_text(json.dumps(schema.config_to_plain(made)))
    checkpoint(folder, 200, schema.config_to_plain(made), {"data": images or IMAGES})
    return folder


def checkpoint(folder: Path, step: int, plain: Any, metadata: Any) -> None:
    """What a checkpoint says of itself, without its arrays."""
    for part, value in (("config", plain), ("metadata", metadata)):
        file = folder / "checkpoints" / str(step) / part / "metadata"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value))
