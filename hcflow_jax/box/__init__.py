"""The models in the box: weights that come with the package, each with a card that says what it is."""

import logging
from pathlib import Path

from hcflow_jax import paths

NAMES = ("portraits", "scenes")

_log = logging.getLogger(__name__)


def weights(name: str) -> Path:
    """The weights file of a model in the box."""
    return Path(__file__).with_name(f"{name}.safetensors")


def card(name: str) -> Path:
    """The model card of a model in the box, Markdown."""
    return weights(name).with_suffix(".md")


def find(path: str | Path) -> Path:
    """Where a checkpoint lies: a name in `NAMES` is that model's weights file, whatever lies here under that name.

    A folder of the name is written as a path, `./portraits`. A `Path` cannot tell the two apart: it is what lies
    there, and the model's name where nothing does.

    Raises:
      InputError: see `paths.local`.
    """
    where = paths.local(path)
    if str(path) not in NAMES or (isinstance(path, Path) and where.exists()):
        return where
    if (where / "checkpoints").is_dir():
        _log.warning("%s is the model in the box; the run in the folder of that name is ./%s", path, path)
    return weights(str(path))
