"""What is watched while a run trains, besides the scales of its flows (`evaluation.flow_scales`): devices' memory."""

import jax


def peak_memory() -> int | None:
    """Bytes that the fullest of this process's devices has held at once; None where the backend does not say."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [each["peak_bytes_in_use"] for each in stats if "peak_bytes_in_use" in each]
    return max(peaks, default=None)
