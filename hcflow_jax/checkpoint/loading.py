"""Loads a trained model from a workdir, a step or a weights file. Imports Orbax only if it is needed."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import buckets, paths
from hcflow_jax.checkpoint import weights_file
from hcflow_jax.checkpoint.files import CheckpointError
from hcflow_jax.layout import CHECKPOINTS
from hcflow_jax.paths import Place


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


def load(path: str | Place, parts: Iterable[str] = ("ema",)) -> Checkpoint:
    """Loads a trained model.

    Args:
      path: a workdir, one step in its `checkpoints/`, or a weights file. For a workdir, the newest step that can be
        read is loaded. A weights file has only the EMA. All may be in a bucket, gs://...; a weights file also s3://.
      parts: the parts of the training state to load: "ema", "params", "opt_state", "step".

    Returns:
      The checkpoint. Its arrays are {part: tree}. They are on the first device of this process; those of a weights
      file are numpy arrays.

    Raises:
      CheckpointError: there is no checkpoint, it cannot be read, or it does not have a requested part.
      InputError: the path is not allowed (see `paths.place`).
      StoreError: the store of the bucket refuses or does not answer.
    """
    where, parts = paths.absolute(paths.place(path, stores=("gs", "s3"))), tuple(parts)
    if where.suffix == weights_file.SUFFIX and not buckets.is_folder(where):
        return _load_file(where, parts)
    if paths.is_remote(where):
        paths.place(str(where))  # Orbax reads workdirs in gs:// only
    if not buckets.is_folder(where):
        raise CheckpointError(f"{where}: no such directory; give a workdir, or one step in its {CHECKPOINTS}/")
    if where.parent.name == CHECKPOINTS and where.name.isdigit():
        root, step = where.parent, int(where.name)
    else:
        root, step = (where if where.name == CHECKPOINTS else where / CHECKPOINTS), None
    if not buckets.is_folder(root):
        raise CheckpointError(f"{where}: no {CHECKPOINTS}/ in it; give a workdir, or one step in its {CHECKPOINTS}/")
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


def newest(workdir: Place, template: Any, accept: Callable[[ConfigDict], None]) -> Checkpoint | None:
    """Finds the step from which a run in a workdir would resume, and checks that the run could. Changes nothing.

    Args:
      workdir: the workdir; it has a folder for checkpoints.
      template, accept: as in `Checkpoints.restore_latest`.

    Returns:
      The checkpoint without its arrays; None if no step was saved yet.

    Raises:
      CheckpointError, ConfigError: as from `Checkpoints.restore_latest`.
    """
    from hcflow_jax.checkpoint.reading import open_manager, read_newest, read_step

    manager = open_manager(workdir / CHECKPOINTS, create=False)
    try:
        return read_newest(manager, partial(read_step, manager, template=template, accept=accept, arrays=False))
    finally:
        manager.close()


def _load_file(path: Place, parts: tuple[str, ...]) -> Checkpoint:
    if other := [part for part in parts if part != "ema"]:
        raise CheckpointError(f"{path} contains only the weights of the EMA, not {other[0]}; give its workdir")
    if isinstance(path, Path):
        config, params, metadata = weights_file.read_file(path)
    else:
        with tempfile.TemporaryDirectory(prefix="hcflow-") as folder:
            here = Path(folder, path.name)
            buckets.download(path, here)
            try:
                config, params, metadata = weights_file.read_file(here)
            except CheckpointError as error:
                raise CheckpointError(str(error).replace(str(here), str(path))) from error
    return Checkpoint(int(metadata.get("step", 0)), config, {"ema": params}, metadata)
