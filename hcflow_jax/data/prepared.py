"""Source: a set of images prepared before, by `python -m hcflow_jax.data.prepare`."""

from pathlib import Path

from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.data.shards import ShardSource
from hcflow_jax.data.source import DataError, Source, Split, held_out


def open_prepared(data: ConfigDict, split: Split) -> Source:
    """The set at `data.path`, and what is held out of it (`held_out`).

    Raises:
      ConfigError: naming the field, for an empty path, another resolution than the set's, or parts that cannot be.
      DataError: naming the file that is missing or damaged.
    """
    if not data.path:
        raise ConfigError("data.path is empty: data.source = 'prepared' needs the prepared directory")
    return held_out(lambda path: _open(path, data.resolution), data, split)


def _open(path: Path, resolution: int) -> ShardSource:
    if not path.is_dir():
        raise DataError(f"{path}: no such directory; make it with python -m hcflow_jax.data.prepare --out {path}")
    source = ShardSource(path, f"prepared {path}")
    found = source.manifest["resolution"]
    if found != resolution:
        raise ConfigError(f"data.resolution is {resolution}: {path} was prepared with --resolution {found}")
    return source
