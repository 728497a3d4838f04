"""A run's directory: whether it can be written, how its config changed, files that are never half there."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from clu import parameter_overview
from ml_collections import ConfigDict

from hcflow_jax import checkpoint
from hcflow_jax.config import ConfigError
from hcflow_jax.files import write

PARAMETERS = "parameters.txt"


def open_workdir(path: str | Path) -> Path:
    """Makes the directory if need be, and tries writing in it before hours are spent.

    Raises:
      ConfigError: it cannot be written.
    """
    workdir = Path(path).expanduser().absolute()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / f".writable-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)  # a process of another host may have the same number
    except OSError as error:
        raise ConfigError(f"--workdir={path} cannot be written ({error.strerror}): name another") from error
    return workdir


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes JSON so that a reader finds the old file or the new one, never half of it.

    Of several processes the first writes.
    """
    if jax.process_index() > 0:
        return
    write(path, lambda file: file.write(f"{json.dumps(value, indent=2)}\n".encode()))


def write_parameters(workdir: Path, params: Any) -> None:
    """Writes WORKDIR/parameters.txt, a table of all parameters: name, shape, dtype and size.

    Of several processes the first writes.
    """
    if jax.process_index() > 0:
        return
    table = parameter_overview.get_parameter_overview(params, include_stats=False)
    write(workdir / PARAMETERS, lambda file: file.write(f"{table}\n".encode()))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{name}" if prefix else name)
    return flat


def changes(before: ConfigDict, now: ConfigDict) -> list[str]:
    """The fields in which two configs differ, as "train.num_steps: 100 -> 200"."""
    old, new = (_flat(checkpoint.config_to_plain(config)) for config in (before, now))
    return [
        f"{name}: {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name, None) != new.get(name, None)
    ]
