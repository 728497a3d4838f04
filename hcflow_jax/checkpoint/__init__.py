"""Save and restore: the only package that knows Orbax.

A step lies in WORKDIR/checkpoints/STEP and carries its config and the versions that wrote it, so a path is
all that is needed to use a model. Orbax writes it under another name, and gives it its own once it is complete;
then it is sealed (`files`): what was cut short or changed later is noticed, and the file named. A model that is
handed on is one file instead, its weights and its config (`weights_file`).
"""

from hcflow_jax.checkpoint.files import CheckpointError
from hcflow_jax.checkpoint.reading import CHECKPOINTS, Checkpoint, load
from hcflow_jax.checkpoint.saving import UNREADABLE, Checkpoints
from hcflow_jax.checkpoint.weights import check_new, save_weights
from hcflow_jax.checkpoint.weights_file import save_file
from hcflow_jax.config import config_from_plain, config_to_plain

__all__ = [
    "CHECKPOINTS",
    "UNREADABLE",
    "Checkpoint",
    "CheckpointError",
    "Checkpoints",
    "check_new",
    "config_from_plain",
    "config_to_plain",
    "load",
    "save_file",
    "save_weights",
]
