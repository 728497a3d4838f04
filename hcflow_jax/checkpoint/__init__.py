"""Saves and restores checkpoints: the only package that uses Orbax.

A checkpoint is stored in WORKDIR/checkpoints/STEP with its config and the versions of the libraries, so a path is
enough to use a model. Orbax writes it under another name and renames it when it is complete. Then it is sealed
(`files`), so that later damage is noticed. To share a model, write its weights and its config to one file
(`weights_file`).
"""

from typing import TYPE_CHECKING, Any

from hcflow_jax.checkpoint.files import CheckpointError
from hcflow_jax.checkpoint.loading import Checkpoint, load, newest
from hcflow_jax.checkpoint.weights import check_new, save_weights
from hcflow_jax.checkpoint.weights_file import amend_file, save_file
from hcflow_jax.config import config_from_plain, config_to_plain

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "amend_file",
    "check_new",
    "config_from_plain",
    "config_to_plain",
    "load",
    "newest",
    "save_file",
    "save_weights",
]

if TYPE_CHECKING:
    from hcflow_jax.checkpoint.saving import Checkpoints


def __getattr__(name: str) -> Any:
    """Imports `Checkpoints` when it is needed, so that reading a weights file does not wait for Orbax."""
    if name == "Checkpoints":
        from hcflow_jax.checkpoint import saving

        return saving.Checkpoints
    raise AttributeError(f"module {__name__} has no attribute {name}")
