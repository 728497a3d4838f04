"""Makes a workdir with only the weights of a model. It can be used like that of a run, except to resume training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import buckets, paths
from hcflow_jax.checkpoint import files
from hcflow_jax.checkpoint.files import WEIGHTS, CheckpointError
from hcflow_jax.files import replacing
from hcflow_jax.layout import CHECKPOINTS
from hcflow_jax.paths import Place


def check_new(workdir: str | Place) -> Place:
    """Checks that a workdir can be made. Returns its absolute path.

    Raises:
      CheckpointError: the path exists, and it is not an empty directory.
      InputError: the path is not allowed (see `paths.place`).
      StoreError: the store of the bucket refuses or does not answer.
    """
    target = paths.absolute(paths.place(workdir))
    if isinstance(target, Path):
        if target.is_dir() and not any(target.iterdir()):
            return target
        there = target.exists() or target.is_symlink()
    else:
        there = bool(buckets.listing(target))
    if there:
        held = "holds checkpoints" if (target / CHECKPOINTS).is_dir() else "is there already"
        raise CheckpointError(f"{target} {held}, and is not overwritten; name a new directory")
    return target


def save_weights(
    workdir: str | Place, params: Any, config: ConfigDict, about: Mapping[str, Any] | None = None
) -> Place:
    """Makes a workdir whose only step, 0, has the parameters as its EMA. It is made completely or not at all.

    Args:
      workdir: a directory that does not exist or is empty; it may be in a bucket, gs://...
      params: the parameter tree.
      config: the whole config.
      about: further entries of the metadata.

    Returns:
      The directory of the step.

    Raises:
      CheckpointError: the workdir exists, or cannot be written.
      InputError: the path is not allowed (see `paths.place`).
      StoreError: the store of the bucket refuses or does not answer.
    """
    target = check_new(workdir)
    step = target / CHECKPOINTS / "0"
    if not isinstance(target, Path):
        _save(target, params, config, about)  # Orbax marks a step in a bucket as complete when it is
        return step
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as partial:
            partial.mkdir()
            try:
                _save(partial, params, config, about)
            except CheckpointError as error:
                raise CheckpointError(str(error).replace(str(partial), str(target))) from error
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written ({error.strerror}): name another") from error
    return step


def _save(workdir: Place, params: Any, config: ConfigDict, about: Mapping[str, Any] | None) -> None:
    from hcflow_jax.checkpoint.saving import Checkpoints

    checkpoints = Checkpoints(workdir, keep=1)
    try:
        checkpoints.save(0, {WEIGHTS: params}, config, about)
    finally:
        checkpoints.close()
    if not files.is_sealed(workdir / CHECKPOINTS / "0"):
        raise CheckpointError(f"{workdir}: its checksums could not be written; check the disk")
