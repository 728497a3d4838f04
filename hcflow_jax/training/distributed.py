"""Several processes of one run: how they find each other, and how they decide together.

Every process runs the same programs in the same order, over all devices. So a program must never depend on something
that only one process knows. `check_same` compares what the processes were given, `from_first` shares a value of
process 0, and `Votes` shares a request to end.
"""

import hashlib
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
from ml_collections import ConfigDict

from hcflow_jax import devices, streams
from hcflow_jax.config import ConfigError, flat, is_path
from hcflow_jax.data import Source
from hcflow_jax.errors import HcflowError
from hcflow_jax.training import sharding, waiting

FLAGS = ("coordinator_address", "num_processes", "process_id")
CONNECT_SECONDS = 300  # a queue may start the last process minutes after the first
# A process that is silent for this many seconds counts as dead, and the others end. A separate thread of each process
# sends the heartbeats.
HEARTBEAT_SECONDS = 60
_LONGER = 60  # seconds: jax's own limit is longer than that of `waiting` by this, because at its limit jax aborts
SHUTDOWN_SECONDS = 60  # a process that has finished waits this long for the others


class AloneError(HcflowError):
    """An error of one process while the others wait for it. They notice when the process is gone."""


def cluster(environment: Mapping[str, str] = os.environ) -> str | None:
    """The name of the cluster that started this process together with others, from the environment; None if none did.

    Call it after jax is imported: jax sets TPU_SKIP_MDS_QUERY if there are no TPU chips.

    Args:
      environment: the environment variables.

    Raises:
      ConfigError: SLURM_NTASKS is not a number.
    """
    given = {name: value.strip() for name, value in environment.items() if value.strip()}  # empty counts as unset
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
    """The devices that a task of SLURM uses: None for one device, by the task's number on the node; [] for all.

    By default jax uses one device per task. Then a task that is alone on its node would use only one device, and a
    task that sees only its own device might use none.
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
    """Joins the other processes of the run, if there are any. Call it before any other use of jax.

    If the first three arguments are None, they come from the cluster (SLURM, a TPU pod or Kubernetes). Without a
    cluster, this process is the only one.

    Args:
      coordinator_address: HOST:PORT of process 0.
      num_processes: the number of processes.
      process_id: the number of this process, from 0.
      heartbeat_seconds: see `HEARTBEAT_SECONDS`.

    Raises:
      ConfigError: some flags are missing or wrong, or the other processes could not be reached.
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
    # Otherwise jax would catch SIGTERM for its own protocol, and `Termination` would not see it.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        with waiting.told(CONNECT_SECONDS):
            jax.distributed.initialize(
                **given,
                initialization_timeout=CONNECT_SECONDS + _LONGER,
                heartbeat_timeout_seconds=heartbeat_seconds,
                shutdown_timeout_seconds=SHUTDOWN_SECONDS,
            )
    except Exception as error:  # an error of jax, of the cluster library or of the network
        where = f"{found} was found, but " if found else f"--coordinator_address={coordinator_address}: "
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        hint = f"; else give --{', --'.join(FLAGS)}" if found else ""
        raise ConfigError(f"{where}{waiting.NOT_REACHED}{hint}; waited for {waiting.missing()} ({reason})") from error


def _check(coordinator_address: Any, num_processes: Any, process_id: Any) -> None:
    port = re.fullmatch(r"\S+:(\d{1,5})", coordinator_address)
    if not port or not 0 < int(port[1]) < 1 << 16:
        raise ConfigError(f"--coordinator_address={coordinator_address}: expected HOST:PORT of process 0")
    if num_processes < 1:
        raise ConfigError(f"--num_processes={num_processes}: expected at least 1")
    if not 0 <= process_id < num_processes:
        raise ConfigError(f"--process_id={process_id}: expected 0 to {num_processes - 1}, one for each process")


def check_same(config: ConfigDict, images: Source, held_out: Source) -> None:
    """Checks that all processes have the same config and the same images. All processes must call it.

    Otherwise their parameters would differ, and nothing would show it. Paths may differ: each host may have its own
    copy of the images.

    Args:
      config: the whole config.
      images: the training images.
      held_out: the held-out images.

    Raises:
      ConfigError: something differs. All processes raise it, and the message says what differs in which process.
    """
    if jax.process_count() == 1:
        return
    own = {name: value for name, value in flat(config).items() if not is_path(config, name)}
    own["train.init_from"] = "given" if config.train.init_from else "not given"
    own |= {"the training images (data.path)": _about(images), "the held-out images": _about(held_out)}
    given = devices.exchange(own)
    names = dict.fromkeys(name for each in given for name in each)
    told = {name: devices.unequal([each.get(name, "absent") for each in given]) for name in names}
    if differ := [f"{name}: {values}" for name, values in told.items() if values]:
        raise ConfigError(
            f"the processes of the run differ: {'; '.join(differ)}; give all processes the same flags and images"
        )


def _about(images: Source) -> str:
    return f"{len(images):,} images with digest {hashlib.sha256(images.identity.encode()).hexdigest()[:16]}"


def from_first(value: bool) -> bool:
    """The value of process 0, in every process. All processes must call it."""
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(value)))


def lost(error: Exception) -> str | None:
    """The message for an error of a collective operation, if another process is gone; None for other errors.

    On CPUs a broken connection shows at once that a process is gone. On other devices only the missing heartbeat
    shows it, and then jax itself ends the process, with its own message and SIGABRT.
    """
    text = " ".join(str(error).split())
    if jax.process_count() == 1 or "Gloo" not in text:
        return None
    return (
        "another process of the run is gone, or does not answer: see what it said, then start all of them again, to "
        f"resume at the last checkpoint ({text[:200]})"
    )


def leave(status: int) -> NoReturn:
    """Ends this process at once. If it ended normally, jax would wait for the other processes."""
    streams.flush()
    os._exit(status)


class Votes:
    """A vote of all processes. In the same call, all of them learn that one must end, and because of which signal.

    One call dispatches a vote, and the next call reads it. By then the device has finished it, so no call waits for
    long. All processes learn of a request at most two calls after it.
    """

    def __init__(self, mesh: Mesh):
        """At first there is no vote.

        Args:
          mesh: the mesh of all devices.
        """
        self._mesh, self._pending = mesh, None
        self._most = jax.jit(jnp.max, out_shardings=sharding.replicated(mesh))

    def __call__(self, wish: int) -> int:
        """Votes. Returns the highest vote of the previous call.

        Args:
          wish: the number of a signal, or 0 to continue.
        """
        outcome = 0 if self._pending is None else int(self._pending)
        own = np.full(len(self._mesh.local_devices), wish, np.int32)
        self._pending = self._most(sharding.spread(self._mesh, own))
        return outcome


def share() -> dict[str, Any]:
    """The number of this process and of all processes, for `data.pipeline`."""
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}
