"""The model behind the subcommands. Importing this imports jax: they do so once their arguments are read."""

import argparse
from collections.abc import Mapping
from typing import Any

from hcflow_jax import api, paths
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.cli.arguments import UsageError
from hcflow_jax.cli.inputs import Images
from hcflow_jax.cli.progress import shown
from hcflow_jax.compiling import enable_compilation_cache

SHOWN_AT = 96  # pixels, about, that an image has on a sheet


def load(values: argparse.Namespace) -> api.Model:
    """The model that --checkpoint and, if there is one, --dtype ask for; its programs are kept for the next command.

    Raises:
      UsageError: there is no such model, or it cannot be read.
    """
    enable_compilation_cache()
    try:
        return api.load(values.checkpoint, dtype=getattr(values, "dtype", "float32"))
    except CheckpointError as error:
        raise UsageError(f"--checkpoint: {error}") from error


def scale(model: api.Model, pixels: int = SHOWN_AT) -> int:
    """How many times larger images are shown than they are."""
    return max(1, pixels // model.resolution)


def encode(model: api.Model, images: Images) -> api.Latents:
    """Latents of images, under a bar."""
    with shown(len(images), "encoding") as progress:
        return model.encode(images, progress=progress)


def decode(model: api.Model, latents: api.Latents, **options: Any) -> Any:
    """Images of latents, under a bar; the options are those of `Model.decode`."""
    with shown(len(latents), "decoding") as progress:
        return model.decode(latents, **options, progress=progress)


def latents(levels: Mapping[str, Any]) -> api.Latents:
    """Latents from arrays by level."""
    return api.Latents.from_dict(levels)


def checkpoint_name(given: str | None) -> str:
    """What finds the model again from any folder: its name if it is one in the box, else its whole path."""
    name = given or api.BOXED[0]
    return name if name in api.BOXED else str(paths.local(name).absolute())
