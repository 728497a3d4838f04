"""Meshes of devices; placing arrays on them and fetching arrays from them; exchanging values between processes.

A mesh has one axis, `BATCH`. A batch is split along it, so each device has a run of consecutive examples. Every
device has a copy of the parameters.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hcflow_jax import environment, settings

BATCH = "batch"  # the mesh's one axis
_NAMED = 4  # processes that a message names, of those with the same value


def start() -> None:
    """Starts JAX's backend, if it does not run yet. Several processes must be connected before they call it.

    Raises:
      EnvironmentSettingError: the backend that JAX_PLATFORMS names is not available, or XLA does not accept
        XLA_FLAGS; the message says what to do.
    """
    environment.check_xla_flags()
    try:
        with environment.plugins_in_one_line():
            jax.local_devices()
    except Exception as error:  # JAX and its plugins raise many kinds of errors here, also bare assertions
        platforms, platform = (jax.config.values[name] or "" for name in ("jax_platforms", "jax_platform_name"))
        raise environment.cannot_start(platforms, platform, error) from error


def in_a_row(devices: Iterable[Any]) -> Mesh:
    """A mesh of devices. The devices of a process are neighbours, so the process's part of a batch is one run."""
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered), (BATCH,), axis_types=(jax.sharding.AxisType.Auto,))


def over(mesh: Mesh, parts: int) -> Mesh:
    """The devices of a mesh, as a mesh whose batch axis has the length gcd(number of devices, `parts`).

    Devices with the same position on the batch axis compute the same.
    """
    size = math.gcd(mesh.size, parts)
    return Mesh(mesh.devices.reshape(size, -1), (BATCH, "alike"), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding with the whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The sharding with a run of the leading axis on each device."""
    return NamedSharding(mesh, PartitionSpec(BATCH))


@settings.own()
def spread(mesh: Mesh, batch: Any) -> Any:
    """Places a tree of host arrays on the mesh: each device gets a run of the leading axis.

    If there are several processes, each gives only the part for its own devices. The result is the whole array.
    """
    where = split(mesh)
    return jax.tree.map(lambda own: jax.make_array_from_process_local_data(where, own), batch)


@settings.own()
def place(where: NamedSharding, tree: Any) -> Any:
    """Places a tree of whole arrays by a sharding. If there are several processes, all must give the same arrays."""
    if where.is_fully_addressable:
        return jax.device_put(tree, where)

    def one(array: Any) -> jax.Array:
        whole = np.asarray(array)
        return jax.make_array_from_callback(whole.shape, where, lambda index: whole[index])

    return jax.tree.map(one, tree)


@settings.own()
def fetch(tree: Any) -> Any:
    """Copies a tree of whole arrays from the devices to the host. All processes of an array's mesh must call it."""
    if all(getattr(leaf, "is_fully_addressable", True) for leaf in jax.tree.leaves(tree)):
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return jax.tree.map(lambda a: multihost_utils.process_allgather(a, tiled=True), tree)


@settings.own()
def exchange(value: Any) -> list[Any]:
    """Sends a value to all processes. Returns the values of all, in their order. All processes must call it.

    Args:
      value: a value of JSON. Its size may differ between processes.
    """
    if jax.process_count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    own = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.asarray(len(own), np.int32)))
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(own)] = own
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


def unequal(values: Sequence[Any]) -> str | None:
    """Says which process has which value: "8 in process 0, 16 in processes 1, 2". None if all values are equal.

    Args:
      values: from `exchange`.
    """
    having: dict[str, list[int]] = {}
    for process, value in enumerate(values):
        having.setdefault(str(value), []).append(process)
    if len(having) < 2:
        return None
    return ", ".join(f"{value} in {named_processes(processes)}" for value, processes in having.items())


def named_processes(processes: Sequence[int]) -> str:
    """Names processes in a message: "process 3", or "processes 0, 1, 2, 3 and 12 more"."""
    rest = f" and {len(processes) - _NAMED} more" if len(processes) > _NAMED else ""
    return f"process{'es' if len(processes) > 1 else ''} {', '.join(map(str, processes[:_NAMED]))}{rest}"
