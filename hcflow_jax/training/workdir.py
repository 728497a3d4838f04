"""The workdir of a run: checks that it can be written, locks it, and writes complete files."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from clu import parameter_overview
from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.config import ConfigError, check_paths
from hcflow_jax.files import HeldError, locked, write

LOCK = ".lock"
PARAMETERS = "parameters.txt"


def open_workdir(path: str | Path, config: ConfigDict | None = None) -> Path:
    """Makes the directory if it is missing, and checks that it can be written, before training starts.

    Args:
      path: the path of the directory.
      config: the config of a run in it. Its paths are checked before the directory is made.

    Returns:
      The absolute path of the directory.

    Raises:
      ConfigError: the directory cannot be written.
      InputError: the path, or a field of the config, is not a path on this machine (see `paths.local`).
    """
    if config is not None:
        check_paths(config)
    workdir = paths.local(path, "--workdir").absolute()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / f".writable-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)  # a process of another host may have the same number
    except OSError as error:
        raise ConfigError(f"--workdir={path} cannot be written ({error.strerror}): name another") from error
    return workdir


@contextmanager
def only_run(workdir: Path) -> Iterator[None]:
    """Holds the lock WORKDIR/.lock (see `files.locked`). If a run has several processes, the first holds it for all.

    Raises:
      ConfigError: another process holds the lock; the message names the process.
    """
    if jax.process_index() != 0:
        yield
        return
    try:
        with locked(workdir / LOCK):
            yield
    except HeldError as error:
        raise ConfigError(
            f"--workdir={workdir}: process {error.holder} is training in it; stop it, or name another workdir"
        ) from None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON file completely or not at all. With several processes, only the first writes."""
    if jax.process_index() > 0:
        return
    write(path, lambda file: file.write(f"{json.dumps(value, indent=2)}\n".encode()))


def write_parameters(workdir: Path, params: Any) -> None:
    """Writes WORKDIR/parameters.txt, a table of all parameters: name, shape, dtype and size.

    With several processes, only the first writes.
    """
    if jax.process_index() > 0:
        return
    table = parameter_overview.get_parameter_overview(params, include_stats=False)
    write(workdir / PARAMETERS, lambda file: file.write(f"{table}\n".encode()))
