"""Loads a trained model from a workdir, a step or a weights file. Imports Orbax only if it is needed."""

import dataclasses
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.checkpoint import weights_file
from hcflow_jax.checkpoint.files import CHECKPOINTS, CheckpointError


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint.

    Attributes:
      step: the number of finished steps.
      config: the config with which it was trained, locked.
      arrays: the requested parts, such as {"ema": params}, or the whole state in the structure of a template.
      metadata: `step`, `next_index` (the first position of the data order that was not used), `data` (the training
        set; older checkpoints do not have it) and `versions` (of the libraries).
    """

    step: int
    config: ConfigDict
    arrays: Any
    metadata: Mapping[str, Any]


def load(path: str | Path, parts: Iterable[str] = ("ema",)) -> Checkpoint:
    """Loads a trained model.

    Args:
      path: a workdir, one step in its `checkpoints/`, or a weights file. For a workdir, the newest step that can be
        read is loaded. A weights file has only the EMA.
      parts: the parts of the training state to load: "ema", "params", "opt_state", "step".

    Returns:
      The checkpoint. Its arrays are {part: tree}. They are on the first device of this process; those of a weights
      file are numpy arrays.

    Raises:
      CheckpointError: there is no checkpoint, it cannot be read, or it does not have a requested part.
    """
    path = paths.local(path).absolute()
    parts = tuple(parts)
    if path.suffix == weights_file.SUFFIX and not path.is_dir():
        return _load_file(path, parts)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such directory; give a workdir, or one step in its {CHECKPOINTS}/")
    if path.parent.name == CHECKPOINTS and path.name.isdigit():
        root, step = path.parent, int(path.name)
    else:
        root, step = (path if path.name == CHECKPOINTS else path / CHECKPOINTS), None
    if not root.is_dir():
        raise CheckpointError(f"{path}: no {CHECKPOINTS}/ in it; give a workdir, or one step in its {CHECKPOINTS}/")
    from hcflow_jax.checkpoint.reading import open_manager, read_newest, read_step

    manager = open_manager(root, create=False)
    try:
        read = partial(read_step, manager, template=None, parts=parts)
        found = read(step) if step is not None else read_newest(manager, read)
    finally:
        manager.close()
    if found is None:
        raise CheckpointError(f"{root}: it has no checkpoint yet; train first, or give another workdir")
    return found


def _load_file(path: Path, parts: tuple[str, ...]) -> Checkpoint:
    if other := [part for part in parts if part != "ema"]:
        raise CheckpointError(f"{path} contains only the weights of the EMA, not {other[0]}; give its workdir")
    config, params, metadata = weights_file.read_file(path)
    return Checkpoint(int(metadata.get("step", 0)), config, {"ema": params}, metadata)
