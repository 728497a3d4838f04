"""The order in which images are met: shuffled anew each epoch, and known from the seed and the step alone.

Grain's index shuffle needs no buffer and no state: image i of the endless order is a function of (seed, i),
so a run resumes at any step. Batch j holds images [jB, (j+1)B) of that order, and host p of n takes the p-th
of n equal blocks of it: the global batch is the same for any number of hosts.
"""

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.data import open_source
from hcflow_jax.data.source import Source


class _Indexed:
    """A source that tells which image each one is."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        index = index.__index__()
        return {"images": self._source[index], "indices": np.int64(index)}


def _order(source: Source, seed: int) -> grain.MapDataset:
    # Repeated before it is batched: a batch may span two epochs, and a small set may fill one by repeating.
    # 2^62 images are for ever; repeat(None) is 2^63 - 1, whose number of batches overflows a length.
    epochs = 2**62 // len(source)
    return grain.MapDataset.source(_Indexed(source)).seed(seed % 2**32).shuffle().repeat(epochs)


def _share(batch_size: int, process_count: int, field: str) -> int:
    if batch_size < 1 or batch_size % process_count:
        raise ConfigError(f"{field} is {batch_size}: expected a positive multiple of the {process_count} hosts")
    return batch_size // process_count


def train_batches(
    config: ConfigDict, start_step: int, process_index: int = 0, process_count: int = 1
) -> Iterator[dict[str, Any]]:
    """The training batches from a step on, for ever.

    Args:
      config: `data`, `train.batch_size` (global) and `seed` are read.
      start_step: the first batch's step; a run resumed here sees exactly what it would have seen.
      process_index: p, this host.
      process_count: n, hosts.

    Returns:
      An iterator of {"images": uint8 (B/n, R, R, 3), "indices": int64 (B/n,)}, where indices are places in
      the training set. It is read ahead by `data.read_threads` threads (0: none).

    Raises:
      ConfigError, DataError: see `open_source`; or for a batch that the hosts cannot share.
    """
    share = _share(config.train.batch_size, process_count, "train.batch_size")
    batches = _order(open_source(config, "train"), config.seed).batch(share)
    # Block p of the global batch j is local batch j n + p.
    mine = batches[start_step * process_count + process_index :: process_count]
    threads = config.data.read_threads
    # Read-ahead is counted in batches; Grain's default of 500 would be gigabytes at 256 pixels.
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return iter(mine.to_iter_dataset(reading))


def init_images(config: ConfigDict) -> UInt8[np.ndarray, "N R R 3"]:
    """The first `train.init_images` images of the training order: what the model is initialised from.

    Raises:
      ConfigError: naming `train.init_images`, if the set does not hold that many.
    """
    source, count = open_source(config, "train"), config.train.init_images
    if not 1 <= count <= len(source):
        raise ConfigError(f"train.init_images is {count}: expected 1 to the {len(source)} images of {source.name}")
    order = _order(source, config.seed)
    return np.stack([element["images"] for element in map(order.__getitem__, range(count)) if element])


def eval_batches(config: ConfigDict, process_index: int = 0, process_count: int = 1) -> Iterator[dict[str, Any]]:
    """The held-out images once, in their own order, at most `eval.images` of them.

    Returns:
      An iterator of {"images": uint8 (B/n, R, R, 3), "indices": int64 (B/n,), "valid": bool (B/n,)} with B =
      `eval.batch_size`. The last batch is completed with images from the start of the set, not valid.

    Raises:
      ConfigError, DataError: see `open_source`; or for an `eval.images` below 1.
    """
    share = _share(config.eval.batch_size, process_count, "eval.batch_size")
    if config.eval.images < 1:
        raise ConfigError(f"eval.images is {config.eval.images}: expected at least 1")
    source = open_source(config, "eval")
    count = min(config.eval.images, len(source))

    def batches() -> Iterator[dict[str, Any]]:
        for first in range(0, count, config.eval.batch_size):
            places = first + process_index * share + np.arange(share, dtype=np.int64)
            indices = np.where(places < count, places, (places - count) % count)
            images = np.stack([source[int(i)] for i in indices])
            yield {"images": images, "indices": indices, "valid": places < count}

    return batches()
