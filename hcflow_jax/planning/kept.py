"""Results that are kept: those of the package, for configuration A, and those of the user's earlier calls."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from hcflow_jax import environment, files
from hcflow_jax.config import config_from_plain, config_to_plain
from hcflow_jax.planning.result import Result, for_target, program_of
from hcflow_jax.planning.targets import Target

_PACKAGE = Path(__file__).parent / "records"


def find(config: ConfigDict, target: Target, batch: int) -> Result | None:
    """The kept result for a config, a target and a batch, or None.

    Several GPUs of one kind have the same program, whatever their number: only the groups of the all-reduces differ.
    So a result for h200:8 is also one for h200:2x8 and for h200:4. One device alone has another program.

    Args:
      config: the config; see `result.for_target`.
      target: the devices.
      batch: the images of a device.
    """
    # The user's own results come first; they are of the installed version of JAX.
    own = _user_file(config, target, batch)
    return (own and _fitting(_own(own), config, target, batch)) or _fitting(_packaged(), config, target, batch)


def known(config: ConfigDict) -> list[str]:
    """The targets and batches for which the package has results of a config, such as "h200 at 16"."""
    found = []
    for of, each in _packaged():
        target, batch = Target(each.target), each.batch_per_device
        if _same(of, each, for_target(config, target, batch)):
            found.append(f"{target.name} at {batch}")
    return found


def keep(config: ConfigDict, result: Result) -> None:
    """Stores a result for the user's later calls, if the user has a cache (`environment.user_cache`)."""
    path = _user_file(config, Target(result.target), result.batch_per_device)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, config, [result])
    except OSError:
        return  # a cache that cannot be written only costs time


def write(path: Path, config: ConfigDict, results: list[Result]) -> None:
    """Writes a file of results.

    Args:
      path: the file.
      config: the config of all of them.
      results: the results.

    Raises:
      OSError: the file cannot be written.
    """
    whole = {"config": config_to_plain(config), "results": [dataclasses.asdict(each) for each in results]}
    text = json.dumps(whole, indent=1) + "\n"
    files.write(path, lambda file: file.write(text.encode()))


def _read(path: Path) -> Iterator[tuple[ConfigDict, Result]]:
    whole = json.loads(path.read_text())
    config = config_from_plain(whole["config"])
    for values in whole["results"]:
        yield config, Result(**values)


def _packaged() -> list[tuple[ConfigDict, Result]]:
    return [pair for path in sorted(_PACKAGE.glob("*.json")) for pair in _read(path)]


def _own(path: Path) -> list[tuple[ConfigDict, Result]]:
    """The user's results in a file; none if it cannot be read, because the step can be compiled again."""
    try:
        return list(_read(path))
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _fitting(found: list[tuple[ConfigDict, Result]], config: ConfigDict, target: Target, batch: int) -> Result | None:
    """The result that is nearest to the target: its own, or else one of the fewest devices."""
    right = [
        each
        for of, each in found
        if each.batch_per_device == batch and _stands_for(each, target) and _same(of, each, config)
    ]
    return min(right, key=lambda each: (each.target != target.name, each.devices), default=None)


def _same(of: ConfigDict, result: Result, config: ConfigDict) -> bool:
    """Whether a result is of the program that this version of the package would compile for the config."""
    own = program_of(for_target(of, Target(result.target), result.batch_per_device))
    own |= {f"execution.{name}": value for name, value in result.execution.items()}
    return own == program_of(config)


def _stands_for(result: Result, target: Target) -> bool:
    own = Target(result.target)
    if own.name == target.name:
        return True
    return own.chip == target.chip and target.is_gpu and own.size > 1 and target.size > 1


def _user_file(config: ConfigDict, target: Target, batch: int) -> Path | None:
    cache = environment.user_cache()
    devices = (target.chip, target.size > 1) if target.is_gpu else target.name
    what: Any = [program_of(config), devices, batch, jax.__version__]
    name = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]
    return cache and cache / "hcflow_jax" / "plans" / f"{name}.json"
