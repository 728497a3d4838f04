"""A model's parameters alone as a workdir that everything but training on can use."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.checkpoint import files
from hcflow_jax.checkpoint.files import CHECKPOINTS, WEIGHTS, CheckpointError


def check_new(workdir: str | Path) -> Path:
    """A workdir that is to be made, as an absolute path.

    Raises:
      CheckpointError: it is there, and not an empty directory.
    """
    target = Path(workdir).expanduser().absolute()
    if target.is_dir() and not any(target.iterdir()):
        return target
    if target.exists() or target.is_symlink():
        held = "holds checkpoints" if (target / CHECKPOINTS).is_dir() else "is there already"
        raise CheckpointError(f"{target} {held}, and nothing is written over: name a new directory")
    return target


def save_weights(
    workdir: str | Path, params: Any, config: ConfigDict, about: Mapping[str, Any] | None = None
) -> Path:
    """Makes a workdir whose only step, 0, holds parameters as its EMA: sealed, all at once or not at all.

    Args:
      workdir: a directory that is not there yet, or is empty.
      params: the parameter tree.
      config: the whole config.
      about: what else goes into the metadata.

    Returns:
      The step's directory.

    Raises:
      CheckpointError: the workdir is there already, or cannot be written.
    """
    from hcflow_jax.checkpoint.saving import Checkpoints

    target = check_new(workdir)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        checkpoints = Checkpoints(partial, keep=1)
        try:
            checkpoints.save(0, {WEIGHTS: params}, config, about)
        finally:
            checkpoints.close()
        if not files.is_sealed(partial / CHECKPOINTS / "0"):
            raise CheckpointError(f"{target}: its checksums could not be written; see to its disk")
        with suppress(FileNotFoundError):
            target.rmdir()
        os.rename(partial, target)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(partial), str(target))) from error
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written ({error.strerror}): name another") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target / CHECKPOINTS / "0"
