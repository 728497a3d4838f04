"""Which device computes what: every device the same parameters, and a run of the batch each."""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError

BATCH = "batch"  # the mesh's one axis


def make_mesh(config: ConfigDict) -> Mesh:
    """All devices in a row.

    Raises:
      ConfigError: naming the batch that does not split into whole statistics groups on every device.
    """
    devices = jax.device_count()
    for field in ("train.batch_size", "eval.batch_size"):
        size, unit = config[field.split(".")[0]].batch_size, devices * config.model.statistics_group
        if size % unit:
            raise ConfigError(
                f"{field}={size} must be a multiple of {unit}: {devices} devices in statistics groups of "
                f"{config.model.statistics_group}; the nearest that does is {max(unit, round(size / unit) * unit)}"
            )
    return jax.make_mesh((devices,), (BATCH,), axis_types=(jax.sharding.AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """A run of the leading axis on each device."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def spread(mesh: Mesh, batch: Any) -> Any:
    """A tree of host arrays, placed a run of the leading axis on each device."""
    return jax.device_put(batch, split(mesh))
