"""Save and restore: the only package that knows Orbax.

A step lies in WORKDIR/checkpoints/STEP and carries its config and the versions that wrote it, so a path is
all that is needed to use a model. Orbax writes it under another name, and gives it its own once it is complete;
then it is sealed (`files`): what was cut short or changed later is noticed, and the file named. A model that is
handed on is one file instead, its weights and its config (`weights_file`).
"""

from typing import TYPE_CHECKING, Any

from hcflow_jax.checkpoint.files import CHECKPOINTS, UNREADABLE, CheckpointError
from hcflow_jax.checkpoint.loading import Checkpoint, load
from hcflow_jax.checkpoint.weights import check_new, save_weights
from hcflow_jax.checkpoint.weights_file import amend_file, save_file
from hcflow_jax.config import config_from_plain, config_to_plain

__all__ = [
    "CHECKPOINTS",
    "UNREADABLE",
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "amend_file",
    "check_new",
    "config_from_plain",
    "config_to_plain",
    "load",
    "save_file",
    "save_weights",
]

if TYPE_CHECKING:
    from hcflow_jax.checkpoint.saving import Checkpoints


def __getattr__(name: str) -> Any:
    """`Checkpoints` when it is asked for: a command that reads a weights file need not wait for Orbax's import."""
    if name == "Checkpoints":
        from hcflow_jax.checkpoint import saving

        return saving.Checkpoints
    raise AttributeError(f"module {__name__} has no attribute {name}")
