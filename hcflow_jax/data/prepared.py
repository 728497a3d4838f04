"""Source: a set of images prepared before, by `python -m hcflow_jax.data.prepare`, on this machine or in a bucket."""

from pathlib import Path

from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.data.bucket_set import STORES, BucketSet, open_set
from hcflow_jax.data.shards import ShardSource
from hcflow_jax.data.source import DataError, Source, Split, held_out
from hcflow_jax.paths import Place


def open_prepared(data: ConfigDict, split: Split) -> Source:
    """The set at `data.path`, and what is held out of it (`held_out`).

    Raises:
      ConfigError: naming the field, for an empty path, another resolution than the set's, or parts that cannot be.
      DataError: naming the file that is missing or damaged.
    """
    if not data.path:
        raise ConfigError("data.path is empty: data.source = 'prepared' needs the prepared directory")
    return held_out(lambda place: _open(place, data), data, split, STORES)


def _open(place: Place, data: ConfigDict) -> ShardSource | BucketSet:
    if isinstance(place, Path) and not place.is_dir():
        raise DataError(f"{place}: no such directory; make it with python -m hcflow_jax.data.prepare --out {place}")
    options = dict(cache_bytes=int(data.cache_gigabytes * 1e9), patience=data.read_timeout)
    source = open_set(place, f"prepared {place}", **options)
    found = source.manifest["resolution"]
    if found != data.resolution:
        raise ConfigError(f"data.resolution is {data.resolution}: {place} was prepared with --resolution {found}")
    return source
