"""Which device computes what: every device the same parameters, and a run of the batch each."""

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.devices import BATCH, fetch, in_a_row, over, place, replicated, split, spread

__all__ = ["BATCH", "fetch", "make_mesh", "over", "place", "replicated", "split", "spread"]


def make_mesh(config: ConfigDict, batch_unit: int, batches: tuple[str, ...] = ("train", "eval")) -> Mesh:
    """All devices in a row, each process's side by side, so that its share of a batch is one run of it.

    Args:
      config: the whole config.
      batch_unit: of the model; every device takes whole units.
      batches: the groups whose `batch_size` is going to be cut over the mesh.

    Raises:
      ConfigError: naming the batch that does not split into whole batch units on every device, or the number
        of micro-batches that a device's share of it does not split into.
    """
    devices = jax.device_count()
    for name in batches:
        size, unit = config[name].batch_size, devices * batch_unit
        if size % unit:
            raise ConfigError(
                f"{name}.batch_size={size} must be a multiple of {unit}: {devices} devices, each with whole groups "
                f"of {batch_unit} images; the nearest that is one is {max(unit, round(size / unit) * unit)}"
            )
    if "train" in batches:
        _check_accumulate(config.train.accumulate, config.train.batch_size // devices, batch_unit)
    return in_a_row(jax.devices())


def _check_accumulate(accumulate: int, share: int, batch_unit: int) -> None:
    groups = share // batch_unit
    if groups % accumulate:
        nearest = min((n for n in range(1, groups + 1) if groups % n == 0), key=lambda n: abs(n - accumulate))
        raise ConfigError(
            f"train.accumulate={accumulate} must divide {groups}: the whole groups of {batch_unit} among a device's "
            f"{share} images of a batch; the nearest that does is {nearest}"
        )
