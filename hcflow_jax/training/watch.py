"""Monitors the memory of the devices during training. (`evaluation.flow_scales` monitors the flows.)"""

import jax


def peak_memory() -> int | None:
    """The largest peak memory among the devices of this process, bytes; None if the backend does not report it."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [each["peak_bytes_in_use"] for each in stats if "peak_bytes_in_use" in each]
    return max(peaks, default=None)
