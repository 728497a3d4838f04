"""Which device computes what: every device the same parameters, and a run of the batch each."""

import math
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError

BATCH = "batch"  # the mesh's one axis


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
    in_row = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(in_row), (BATCH,), axis_types=(jax.sharding.AxisType.Auto,))


def _check_accumulate(accumulate: int, share: int, batch_unit: int) -> None:
    groups = share // batch_unit
    if groups % accumulate:
        nearest = min((n for n in range(1, groups + 1) if groups % n == 0), key=lambda n: abs(n - accumulate))
        raise ConfigError(
            f"train.accumulate={accumulate} must divide {groups}: the whole groups of {batch_unit} among a device's "
            f"{share} images of a batch; the nearest that does is {nearest}"
        )


def over(mesh: Mesh, parts: int) -> Mesh:
    """The same devices in a mesh whose axis of the batch has a length that divides `parts`, the largest there is.

    The devices beyond it do what others do.
    """
    size = math.gcd(mesh.size, parts)
    return Mesh(mesh.devices.reshape(size, -1), (BATCH, "alike"), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """A run of the leading axis on each device."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


def spread(mesh: Mesh, batch: Any) -> Any:
    """A tree of host arrays, placed a run of the leading axis on each device.

    Of several processes each gives its own share, the runs of its devices, and gets an array of the whole.
    """
    where = split(mesh)
    return jax.tree.map(lambda own: jax.make_array_from_process_local_data(where, own), batch)


def place(where: NamedSharding, tree: Any) -> Any:
    """A tree of whole arrays, the same in every process, placed."""
    if jax.process_count() == 1:
        return jax.device_put(tree, where)

    def one(array: Any) -> jax.Array:
        whole = np.asarray(array)
        return jax.make_array_from_callback(whole.shape, where, lambda index: whole[index])

    return jax.tree.map(one, tree)


def fetch(tree: Any) -> Any:
    """A tree of arrays on any devices, whole and on the host; of several processes all have to call it."""
    return jax.tree.map(lambda a: multihost_utils.process_allgather(a, tiled=True), tree)
