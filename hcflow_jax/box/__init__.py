"""The bundled pretrained models: weights that come with the package, each with a model card."""

import logging
from pathlib import Path

from hcflow_jax import paths
from hcflow_jax.layout import CHECKPOINTS
from hcflow_jax.paths import Place

NAMES = ("portraits64", "portraits", "scenes")  # the first is the default

_log = logging.getLogger(__name__)


def weights(name: str) -> Path:
    """The weights file of a bundled model."""
    return Path(__file__).with_name(f"{name}.safetensors")


def card(name: str) -> Path:
    """The model card of a bundled model, in Markdown."""
    return weights(name).with_suffix(".md")


def find(path: str | Place) -> Place:
    """Finds a checkpoint. A name in `NAMES` means that bundled model, even if there is a folder of that name.

    Write `./portraits` for a folder of that name. A `Path` cannot distinguish the two: it means the folder if one
    exists, and the bundled model otherwise.

    Raises:
      InputError: see `paths.place`.
    """
    where = paths.place(path, stores=("gs", "s3"))
    if str(path) not in NAMES or (isinstance(path, Path) and where.exists()):
        return where
    if (where / CHECKPOINTS).is_dir():
        _log.warning(
            "%s is the bundled pretrained model; write ./%s for the run in the folder of that name", path, path
        )
    return weights(str(path))
