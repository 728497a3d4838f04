"""Prints what a process waits for while the processes of a run connect to each other."""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jax._src.distributed import global_state

from hcflow_jax import streams
from hcflow_jax.commands import USAGE_ERROR

EVERY_SECONDS = 15.0  # the time between two lines
NOT_REACHED = "the other processes were not reached: check that all are started and that the port is open"
_PROBE_SECONDS = 2.0


def reachable(address: str) -> str:
    """Tries to connect to HOST:PORT. Returns "" if that succeeds, otherwise the reason why it fails."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        return f"this machine cannot resolve the name {host} ({error.strerror})"
    for family, kind, protocol, _, place in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.settimeout(_PROBE_SECONDS)
            if not probe.connect_ex(place):
                return ""
    return "nothing answers there"


def missing() -> str:
    """Describes what this process waits for, with the information that JAX has."""
    address, process = global_state.coordinator_address, global_state.process_id
    if address is None:
        return "the address of process 0, from the cluster"
    others = (
        "all other processes" if global_state.num_processes is None else f"{global_state.num_processes} processes"
    )
    if process == 0:
        return f"all of {others} to connect to process 0, which is this one, at {address}"
    problem = reachable(address)
    if problem:
        return f"process 0 at {address}: {problem}"
    return f"all of {others} to connect to process 0 at {address}; this is process {process}"


@contextmanager
def told(limit: float, every: float = EVERY_SECONDS) -> Iterator[None]:
    """Prints a line every few seconds while the block waits. After `limit` seconds it ends the process with one line.

    At its own limit, JAX aborts and prints a C++ stack. So give JAX a longer limit.

    Args:
      limit: the longest time to wait, seconds.
      every: the time between two lines, seconds.
    """
    done, start = threading.Event(), time.monotonic()

    def report() -> None:
        while not done.wait(min(every, max(0.0, start + limit - time.monotonic()))):
            waits, waited = missing(), time.monotonic() - start
            if done.is_set():
                return
            if waited >= limit:
                streams.say(f"error: {NOT_REACHED}; waited {waited:.0f} s for {waits}", sys.stderr)
                streams.flush()
                os._exit(USAGE_ERROR)
            streams.say(f"waiting for {waits} ({waited:.0f} of at most {limit:.0f} s)", sys.stderr)

    thread = threading.Thread(target=report, daemon=True, name="waiting for processes")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
