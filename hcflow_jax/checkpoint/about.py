"""Reads the config and the training set of a run from its workdir, without Orbax and JAX, also during the run."""

import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.config import config_from_plain
from hcflow_jax.layout import CHECKPOINTS, CONFIG
from hcflow_jax.paths import Place


@dataclasses.dataclass(frozen=True)
class About:
    """The config and the metadata of a run.

    Attributes:
      config: the whole config, locked; None if neither `CONFIG` nor a checkpoint exists yet.
      metadata: the metadata of the newest checkpoint (see `Checkpoint.metadata`); empty if there is none yet.
    """

    config: ConfigDict | None
    metadata: Mapping[str, Any]


def read(workdir: Place) -> About:
    """Reads the config and the metadata of a run. Missing and incomplete files are ignored.

    Args:
      workdir: the workdir of the run; it may be in a bucket. Workdirs of earlier versions have no `CONFIG`; then the
        config is that of the newest checkpoint.

    Raises:
      ConfigError: the config's family of models is not registered.
    """
    plain = _json(workdir / CONFIG)
    root = workdir / CHECKPOINTS
    steps = sorted((int(path.name) for path in root.glob("*") if path.name.isdigit()), reverse=True)
    for step in steps:  # a running process may remove a step, or may not have written its files yet
        config, metadata = (_json(root / str(step) / part / "metadata") for part in ("config", "metadata"))
        if config is not None and metadata is not None:
            return About(config_from_plain(plain or config), metadata)
    return About(None if plain is None else config_from_plain(plain), {})


def _json(file: Place) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file cannot be read or has no object."""
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text())
        return found if isinstance(found, dict) else None
    return None
