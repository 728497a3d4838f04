"""Several processes as one run: how they find each other, and what one says for all.

Every process runs the same programs in the same order, over all devices; what a program does must therefore never
hang on what a single process knows. What one has to decide for all goes through `from_first`, a wish to end through
`Votes`.
"""

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from hcflow_jax import streams
from hcflow_jax.config import ConfigError
from hcflow_jax.errors import HcflowError
from hcflow_jax.training import sharding

FLAGS = ("coordinator_address", "num_processes", "process_id")
CONNECT_SECONDS = 300  # a queue may start the last process minutes after the first
# Seconds without a sign of life, from a thread of its own, after which a process counts as dead and the others end.
HEARTBEAT_SECONDS = 60
SHUTDOWN_SECONDS = 60  # that a process which is done waits for the others


class AloneError(HcflowError):
    """What ends one process while the others wait for it; they notice once it is gone."""


def cluster(environment: Mapping[str, str] = os.environ) -> str | None:
    """Which cluster started this process beside others, by what it sets in the environment; None: none did.

    To be asked once jax is imported: it says itself where there are no TPU chips.

    Raises:
      ConfigError: SLURM_NTASKS is no number.
    """
    given = {name: value.strip() for name, value in environment.items() if value.strip()}  # empty is as good as unset
    tasks = given.get("SLURM_NTASKS", "1")
    if tasks != "1" and "SLURM_STEP_NODELIST" in given:
        if not tasks.isdecimal():
            raise ConfigError(
                f"SLURM_NTASKS={tasks}: expected the number of the job's tasks; unset it for one process"
            )
        return "SLURM"
    platforms = given.get("JAX_PLATFORMS", "")
    on_tpu = not platforms or "tpu" in platforms.split(",")
    if on_tpu and "TPU_SKIP_MDS_QUERY" not in environment and find_spec("libtpu"):
        return "a TPU pod"
    if "KUBERNETES_SERVICE_HOST" in given and "JOB_COMPLETION_INDEX" in given:
        return "Kubernetes"
    return None


def _own_devices(environment: Mapping[str, str] = os.environ) -> list[int] | None:
    """What SLURM's tasks take of the devices they see: None for one each, by their number on the node; [] for all.

    One each is jax's rule, which would leave a node that runs a single task with one device, and one whose tasks
    see only their own with none.
    """
    alone = re.fullmatch(r"1(\(x\d+\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", "")) is not None
    one_visible = len(environment.get("CUDA_VISIBLE_DEVICES", ",").split(",")) == 1
    return [] if alone or one_visible else None


def start(
    coordinator_address: str | None,
    num_processes: int | None,
    process_id: int | None,
    heartbeat_seconds: int = HEARTBEAT_SECONDS,
) -> None:
    """Joins the other processes of the run, if there are any; before anything else is asked of jax.

    Args:
      coordinator_address: HOST:PORT of process 0, which the others reach.
      num_processes: how many.
      process_id: which of them this is, from 0.
      heartbeat_seconds: see `HEARTBEAT_SECONDS`.

    None for the first three: as the cluster says (SLURM, TPU pods, Kubernetes), or this process alone.

    Raises:
      ConfigError: some flags are missing or cannot be, or the others were not reached.
    """
    if heartbeat_seconds < 1:
        raise ConfigError(f"--heartbeat_seconds={heartbeat_seconds}: expected at least 1")
    given: dict[str, Any] = dict(zip(FLAGS, (coordinator_address, num_processes, process_id), strict=True))
    missing = [f"--{name}" for name, value in given.items() if value is None]
    found = cluster() if len(missing) == len(FLAGS) else None
    if len(missing) == len(FLAGS):
        if found is None:
            return
        given = {"local_device_ids": _own_devices()} if found == "SLURM" else {}
    elif missing:
        raise ConfigError(f"{' and '.join(missing)} missing: several processes need all of --{', --'.join(FLAGS)}")
    else:
        _check(**given)
    # jax would catch SIGTERM for a protocol of its own, and with it what `Termination` is for.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=CONNECT_SECONDS,
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
    except Exception as error:  # jax's, the cluster library's or the network's
        where = f"{found} was found, but its" if found else f"--coordinator_address={coordinator_address}: the"
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        hint = f"; else give --{', --'.join(FLAGS)}" if found else ""
        raise ConfigError(
            f"{where} other processes were not reached: see that all are started and the port is open{hint} "
            f"({reason})"
        ) from error


def _check(coordinator_address: Any, num_processes: Any, process_id: Any) -> None:
    if not re.fullmatch(r"\S+:\d+", coordinator_address):
        raise ConfigError(f"--coordinator_address={coordinator_address}: expected HOST:PORT of process 0")
    if num_processes < 1:
        raise ConfigError(f"--num_processes={num_processes}: expected at least 1")
    if not 0 <= process_id < num_processes:
        raise ConfigError(f"--process_id={process_id}: expected 0 to {num_processes - 1}, one for each process")


def from_first(value: bool) -> bool:
    """Process 0's value, in every process: all have to call it."""
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def lost(error: Exception) -> str | None:
    """What to say of an error of a collective whose other processes are gone; None if it is another error.

    On CPUs a connection that breaks says at once that its process is gone. Elsewhere nothing does but the heartbeat,
    upon which jax itself ends the process, with a message of its own and SIGABRT.
    """
    text = " ".join(str(error).split())
    if jax.process_count() == 1 or "Gloo" not in text:
        return None
    return (
        "another process of the run is gone, or does not answer: see what it said, then start all of them again, to "
        f"resume at the last checkpoint ({text[:200]})"
    )


def leave(status: int) -> NoReturn:
    """Ends this process without the others, for which jax would wait when it ends in good order."""
    streams.flush()
    os._exit(status)


class Votes:
    """The signal for which any process wants to end, told to all of them at the same call.

    A vote is dispatched with one call and read with the next, by when the device has long been through it: no
    call waits for more than the one before. So a wish is known to all two calls after it at the latest.
    """

    def __init__(self, mesh: Mesh):
        """No vote was cast yet."""
        self._mesh, self._pending = mesh, None
        self._most = jax.jit(jnp.max, out_shardings=sharding.replicated(mesh))

    def __call__(self, wish: int) -> int:
        """Casts this process's vote, a signal's number or 0, and gives the highest of the call before, 0 at first."""
        outcome = 0 if self._pending is None else int(self._pending)
        own = np.full(len(self._mesh.local_devices), wish, np.int32)
        self._pending = self._most(sharding.spread(self._mesh, own))
        return outcome


def share() -> dict[str, Any]:
    """This process among all, as `data.pipeline` wants to know it."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}
