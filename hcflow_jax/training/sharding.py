"""Which device computes what: every device the same parameters, and a run of the batch each."""

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.devices import BATCH, fetch, in_a_row, over, place, replicated, split, spread

__all__ = ["BATCH", "fetch", "make_mesh", "over", "place", "replicated", "split", "spread"]


def make_mesh(config: ConfigDict, batches: tuple[str, ...] = ("train", "eval")) -> Mesh:
    """All devices in a row, each process's side by side, so that its share of a batch is one run of it.

    Args:
      config: the whole config.
      batches: the groups whose `batch_size` is going to be cut over the mesh.

    Raises:
      ConfigError: naming the batch that does not split into whole statistics groups on every device, or the number
        of micro-batches that a device's share of it does not split into.
    """
    devices, group = jax.device_count(), config.model.statistics_group
    for name in batches:
        size, unit = config[name].batch_size, devices * group
        if size % unit:
            raise ConfigError(
                f"{name}.batch_size={size} must be a multiple of {unit}: {devices} devices in statistics groups of "
                f"{group}; the nearest that does is {max(unit, round(size / unit) * unit)}"
            )
    if "train" in batches:
        _check_accumulate(config.train.accumulate, config.train.batch_size // devices, group)
    return in_a_row(jax.devices())


def _check_accumulate(accumulate: int, share: int, group: int) -> None:
    groups = share // group
    if groups % accumulate:
        nearest = min((n for n in range(1, groups + 1) if groups % n == 0), key=lambda n: abs(n - accumulate))
        raise ConfigError(
            f"train.accumulate={accumulate} must divide {groups}: a device's {share} images of a batch in statistics "
            f"groups of {group}; the nearest that does is {nearest}"
        )
