"""How training is divided over devices: every device has all parameters and computes a part of the batch."""

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.devices import BATCH, fetch, in_a_row, over, place, replicated, split, spread

__all__ = ["BATCH", "fetch", "make_mesh", "over", "place", "replicated", "split", "spread"]


def make_mesh(config: ConfigDict, batch_unit: int, batches: tuple[str, ...] = ("train", "eval")) -> Mesh:
    """A mesh of all devices. The devices of a process are neighbours, so its part of a batch is contiguous.

    Args:
      config: the whole config.
      batch_unit: the batch unit of the model; every device gets whole units.
      batches: the groups of the config whose `batch_size` is divided over the mesh.

    Raises:
      ConfigError: a batch cannot be divided into whole batch units on every device, or a device's part cannot be
        divided into the micro-batches; the message names the field.
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
