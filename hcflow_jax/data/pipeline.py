"""The order of images in training: shuffled again in each epoch, and determined by the seed and the place.

Grain's index shuffle needs no buffer and no state: image i of the endless order is a function of (seed, i), so a run
resumes at any place with any batch size. From place s on, batch j holds images [s + jB, s + (j+1)B) of that order,
and host p of n takes the p-th of n equal blocks of it: the global batch is the same for any number of hosts.

`data.read_threads` threads read whole batches in advance. In memory are at most twice as many batches as threads.
With `place`, there are one more that is being placed and `PLACED` that are placed.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import grain
import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.data import open_source
from hcflow_jax.data.prefetch import Ahead
from hcflow_jax.data.source import Source, several

PLACED = 2  # batches ready on the device, besides the one in use
_CHUNK = 8  # images that a thread reads at a time to initialise from

Batch = dict[str, Any]


def training_order(source: Source, seed: int) -> Callable[[int, int], Int[np.ndarray, " count"]]:
    """(place, count) -> indices of the images at [place, place + count) of the training order."""
    # Of indices, not images: grain's threads would read those, see `prefetch`. Repeated since a batch may span two
    # epochs, and a small set may fill one by repeating. 2^62 images are for ever; repeat(None) overflows a length.
    order = grain.MapDataset.source(range(len(source))).seed(seed % 2**32).shuffle().repeat(2**62 // len(source))
    return lambda place, count: np.array([order[i] for i in range(place, place + count)], np.int64)


def _read(source: Source, batch: Batch) -> Batch:
    indices = batch["indices"].tolist()
    images: UInt8[np.ndarray, "N R R 3"] | None = None
    # Copying each image to its place is a third faster than stacking them at the end.
    for place, image in enumerate(several(source, indices)):
        if images is None:
            images = np.empty((len(indices), *image.shape), np.uint8)
        images[place] = image
    return {"images": images, **batch}


def _share(batch_size: int, process_count: int, field: str) -> int:
    if batch_size < 1 or batch_size % process_count:
        raise ConfigError(f"{field} is {batch_size}: expected a positive multiple of the {process_count} hosts")
    return batch_size // process_count


def _read_ahead(
    config: ConfigDict,
    source: Source,
    items: Iterator[Batch],
    place: Callable[[Batch], Any] | None = None,
    while_waiting: Callable[[], None] = lambda: None,
) -> Ahead[Any]:
    """Batches of indices as batches of images, through `place`."""
    threads, seconds = config.data.read_threads, config.data.read_timeout
    if threads < 0:
        raise ConfigError(f"data.read_threads is {threads}: expected at least 0")
    if not seconds > 0:
        raise ConfigError(f"data.read_timeout is {seconds}: expected seconds, more than 0")
    how: dict[str, Any] = dict(name=source.name, seconds=seconds, while_waiting=while_waiting)
    read = partial(Ahead, items, partial(_read, source), threads=threads, most=2 * threads)
    if place is None:
        return read(**how)
    # One thread, so that batches are placed in their order on every host.
    return Ahead(read(name=source.name), place, threads=1, most=PLACED, **how)


def train_batches(
    config: ConfigDict,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    *,
    source: Source | None = None,
    place: Callable[[Batch], Any] | None = None,
    while_waiting: Callable[[], None] = lambda: None,
) -> Ahead[Any]:
    """Yields training batches without end, from a place in the order on.

    Args:
      config: `data`, `train.batch_size` (global) and `seed` are read.
      start: number of used images of the order. A run that resumes here sees the same images as without a stop.
      process_index: p, this host.
      process_count: n, hosts.
      source: the training images, if they are already open.
      place: called in a thread with each batch, in order; its result replaces the batch.
      while_waiting: called from time to time during a wait for a batch; may raise.

    Returns:
      An iterator of {"images": uint8 (B/n, R, R, 3), "indices": int64 (B/n,)}, where indices are places in
      the training set. Close it; until then it reads ahead (with `data.read_threads` 0 only batches for `place`).

    Raises:
      ConfigError, DataError: see `open_source`; or for a batch that the hosts cannot share. The iterator raises
        DataError for images that cannot be read, or that do not come within `data.read_timeout` seconds.
    """
    batch_size = config.train.batch_size
    share = _share(batch_size, process_count, "train.batch_size")
    source = source or open_source(config, "train")
    order = training_order(source, config.seed)
    first = start + process_index * share
    items = ({"indices": order(at, share)} for at in itertools.count(first, batch_size))
    return _read_ahead(config, source, items, place, while_waiting)


def init_images(config: ConfigDict, source: Source | None = None) -> UInt8[np.ndarray, "N R R 3"]:
    """The first `train.init_images` images of the training order, which initialise the model.

    Raises:
      ConfigError: naming `train.init_images`, if the set does not hold that many.
      DataError: see `train_batches`.
    """
    source, count = source or open_source(config, "train"), config.train.init_images
    if not 1 <= count <= len(source):
        raise ConfigError(f"train.init_images is {count}: expected 1 to the {len(source)} images of {source.name}")
    return images_at(config, source, training_order(source, config.seed)(0, count))


def images_at(config: ConfigDict, source: Source, places: Int[np.ndarray, " N"]) -> UInt8[np.ndarray, "N R R 3"]:
    """Images of a set by their places in it.

    Raises:
      DataError: they cannot be read, or do not come within `data.read_timeout` seconds.
    """
    chunks = np.split(places, range(_CHUNK, len(places), _CHUNK))
    return np.concatenate([b["images"] for b in _read_ahead(config, source, ({"indices": c} for c in chunks))])


def eval_batches(
    config: ConfigDict,
    process_index: int = 0,
    process_count: int = 1,
    *,
    batch_unit: int = 1,
    source: Source | None = None,
    while_waiting: Callable[[], None] = lambda: None,
) -> Ahead[Batch]:
    """The held-out images once, in their own order, at most `eval.images` of them.

    Args:
      config: `data` and `eval` are read.
      process_index, process_count, source, while_waiting: as of `train_batches`.
      batch_unit: the batch unit of the model; the images of a unit are to differ.

    Returns:
      An iterator of {"images": uint8 (B/n, R, R, 3), "indices": int64 (B/n,), "valid": bool (B/n,)} with B =
      `eval.batch_size`. The last batch is completed with images from the start of the set, not valid: those that
      are counted, over and over, or as many as make the images of a batch unit differ, if the set has them.

    Raises:
      ConfigError, DataError: see `train_batches`; or for an `eval.images` below 1.
    """
    batch_size = config.eval.batch_size
    share = _share(batch_size, process_count, "eval.batch_size")
    if config.eval.images < 1:
        raise ConfigError(f"eval.images is {config.eval.images}: expected at least 1")
    source = source or open_source(config, "eval")
    count = min(config.eval.images, len(source))
    # Any run of this many places holds different images.
    different = max(count, min(batch_unit, len(source)))
    mine = process_index * share + np.arange(share, dtype=np.int64)
    places = (first + mine for first in range(0, count, batch_size))
    items = ({"indices": p % different, "valid": p < count} for p in places)
    return _read_ahead(config, source, items, while_waiting=while_waiting)
