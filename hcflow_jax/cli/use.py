"""Loads the model for a subcommand. This module imports jax, so subcommands import it after reading arguments."""

import argparse
from collections.abc import Mapping
from typing import Any

from hcflow_jax import api, paths
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.cli.arguments import UsageError
from hcflow_jax.cli.inputs import Images
from hcflow_jax.cli.progress import shown
from hcflow_jax.compiling import enable_compilation_cache

SHOWN_AT = 96  # about how many pixels wide an image is on a sheet


def load(values: argparse.Namespace) -> api.Model:
    """Loads the model of --checkpoint, with the dtype of --dtype if given. Its compiled programs stay in the cache.

    Raises:
      UsageError: the model does not exist or cannot be read.
    """
    enable_compilation_cache()
    try:
        return api.load(values.checkpoint, dtype=getattr(values, "dtype", "float32"))
    except CheckpointError as error:
        raise UsageError(f"--checkpoint: {error}") from error


def scale(model: api.Model, pixels: int = SHOWN_AT) -> int:
    """The factor by which images are enlarged on a sheet."""
    return max(1, pixels // model.resolution)


def encode(model: api.Model, images: Images) -> api.Latents:
    """Encodes images to latents, with a progress bar."""
    with shown(len(images), "encoding") as progress:
        return model.encode(images, progress=progress)


def decode(model: api.Model, latents: api.Latents, **options: Any) -> Any:
    """Decodes latents to images, with a progress bar; the options are those of `Model.decode`."""
    with shown(len(latents), "decoding") as progress:
        return model.decode(latents, **options, progress=progress)


def latents(levels: Mapping[str, Any]) -> api.Latents:
    """Makes latents from arrays by level."""
    return api.Latents.from_dict(levels)


def checkpoint_name(given: str | None) -> str:
    """A name that finds the model from any folder: its name if it is bundled, else its absolute path."""
    name = given or api.BOXED[0]
    return name if name in api.BOXED else str(paths.absolute(paths.place(name, stores=("gs", "s3"))))
