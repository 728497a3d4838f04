"""Stores the default sigma of sampling with a model: in the metadata of a weights file, or in a workdir.

The metadata have it as `sigma`, a workdir as `sampling.json`.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hcflow_jax import buckets, checkpoint
from hcflow_jax.api.arguments import Sigma
from hcflow_jax.checkpoint import CheckpointError
from hcflow_jax.layout import CHECKPOINTS, SAMPLING
from hcflow_jax.paths import Place


def path_of(where: Place) -> Place:
    """The file in a workdir, or in the workdir of a step in `checkpoints/`."""
    step = where.parent.name == CHECKPOINTS and where.name.isdigit()
    return (where.parent.parent if step else where) / SAMPLING


def read(where: Place) -> Sigma | None:
    """The sigma that a workdir stores; None if it stores none.

    Args:
      where: the workdir, or a step in its `checkpoints/`.

    Raises:
      CheckpointError: the file is damaged.
    """
    path = path_of(where)
    if not path.is_file():
        return None
    try:
        sigma = json.loads(path.read_bytes())["sigma"]
        values = sigma.values() if isinstance(sigma, dict) else [sigma]
        if not all(isinstance(value, int | float) and 0 <= value < math.inf for value in values):
            raise ValueError(f"sigma is {sigma!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); remove it, or run hcflow tune-sigma again") from error
    return sigma


def write(where: Place, sigma: Sigma, about: Mapping[str, Any]) -> Place:
    """Stores the sigma with a model.

    Args:
      where: a weights file, or a workdir, or a step in its `checkpoints/`.
      sigma: the std of latents, by level.
      about: how it was found, as plain values.

    Returns:
      The file that contains it.

    Raises:
      OSError: it cannot be written; the old file is unchanged.
    """
    if isinstance(where, Path) and where.is_file():
        checkpoint.amend_file(where, {"sigma": sigma, "sigma_about": dict(about)})
        return where
    text = json.dumps({"sigma": sigma, "about": dict(about)}, indent=1) + "\n"
    buckets.write(path_of(where), lambda file: file.write(text.encode()))
    return path_of(where)
