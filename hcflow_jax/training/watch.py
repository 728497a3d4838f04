"""Watches the memory of the devices during training; `evaluation.flow_scales` watches the flows."""

import jax


def peak_memory() -> int | None:
    """The peak memory in bytes of this process's devices, the largest of them; None if the backend does not tell."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [each["peak_bytes_in_use"] for each in stats if "peak_bytes_in_use" in each]
    return max(peaks, default=None)
