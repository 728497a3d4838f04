"""A profiler's trace of a few calls, and from it the time by kernel."""

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

CALLS = 3


def record(call: Callable[[], None], directory: Path, most: int = 40) -> dict[str, Any]:
    """Traces `CALLS` calls into a directory, for TensorBoard or xprof, and sums the trace up.

    Args:
      call: to be traced; compiled, warm, and done when it returns.
      directory: where `plugins/profile/...` goes.
      most: the number of kernels to name.

    Returns:
      Milliseconds a call: of the device at work, in kernels of each name, and from the first kernel's start to the
      last one's end (pauses between the calls included).
    """
    with jax.profiler.trace(str(directory)):
        for _ in range(CALLS):
            call()
    newest = max(directory.glob("plugins/profile/*/*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    return summarise(jax.profiler.ProfileData.from_file(str(newest)), most)


def summarise(data: Any, most: int) -> dict[str, Any]:
    """What `record` returns, of a `jax.profiler.ProfileData`."""
    spent: collections.Counter[str] = collections.Counter()
    times: collections.Counter[str] = collections.Counter()
    starts, ends = [], []
    for plane in data.planes:
        for line in plane.lines:
            if not _holds_kernels(plane.name, line.name):
                continue
            for event in line.events:
                spent[event.name] += event.duration_ns
                times[event.name] += 1
                starts.append(event.start_ns)
                ends.append(event.start_ns + event.duration_ns)
    milliseconds = 1e-6 / CALLS
    return {
        "calls": CALLS,
        "ms_per_call_in_kernels": sum(spent.values()) * milliseconds,
        "ms_per_call_from_first_to_last": (max(ends) - min(starts)) * milliseconds if ends else 0.0,
        "kernels_per_call": sum(times.values()) / CALLS,
        "kernels": [
            {"name": name[:120], "ms_per_call": ns * milliseconds, "times_per_call": times[name] / CALLS}
            for name, ns in spent.most_common(most)
        ],
    }


def _holds_kernels(plane: str, line: str) -> bool:
    """A GPU's streams, a TPU's operations, the threads of XLA on a CPU: a plane's other lines repeat these."""
    if plane.startswith("/device:GPU"):
        return line.startswith("Stream")
    if plane.startswith("/device:"):
        return line == "XLA Ops"
    return plane == "/host:CPU" and line.startswith("tf_XLA")
