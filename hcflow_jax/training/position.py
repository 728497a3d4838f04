"""Which images a run is amid: what a checkpoint keeps of its data, and whether a resumed run has the same."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.data import DataError, Source


def describe(source: Source) -> dict[str, Any]:
    """What a checkpoint's metadata holds of a training set, as JSON; it is another set if `identity` differs."""
    return {"name": source.name, "count": len(source), "identity": source.identity}


def check(stored: Mapping[str, Any] | None, source: Source, data: ConfigDict) -> str | None:
    """Compares the training set of a checkpoint with that of the run that resumes it.

    The same order over other images is another run, so that is refused unless it is asked for.

    Args:
      stored: what `describe` gave then; None in a checkpoint that was written before there was an entry.
      source: the training images now.
      data: the config's group; `allow_other_images` is read.

    Returns:
      What is to be said of a difference that is allowed; None without one.

    Raises:
      DataError: the images are others.
    """
    if stored is None or stored["identity"] == source.identity:
        return None
    images = f"{stored['name']} ({stored['count']:,} images), and now it is {source.name} ({len(source):,} images)"
    if data.allow_other_images:
        return f"the training images are others than when it was saved: it was {images}"
    raise DataError(
        f"data.path: the checkpoint was trained on {images}, which holds others; "
        "set it back, or data.allow_other_images=True to go on with these"
    )
