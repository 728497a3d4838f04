"""How a model is computed: the config's group `execution`, with every "auto" replaced by the backend's choice."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from hcflow_jax import flows
from hcflow_jax.nets.layers import Execution

PRESETS = {
    "cpu": dict(dtype="float32", loop="scan", conv="shifted", resample="taps", gain="result", halves="one"),
    "gpu": dict(dtype="bfloat16", loop="unroll", conv="xla", resample="taps", gain="weights", halves="one"),
    "tpu": dict(dtype="bfloat16", loop="scan", conv="xla", resample="matrix", gain="weights", halves="one"),
}


def resolve_execution(execution: ConfigDict) -> dict[str, str]:
    """The group `execution` with every "auto" replaced by the backend's preset."""
    backend = execution.preset if execution.preset != "auto" else jax.default_backend()
    preset = PRESETS.get(backend, PRESETS["gpu"])
    return {k: v if execution[k] == "auto" else execution[k] for k, v in preset.items()}


def parts(execution: ConfigDict) -> tuple[Execution, Any]:
    """What a family builds with: the execution of its networks, and `flows.Repeat` with loop and backward chosen."""
    chosen = resolve_execution(execution)
    loop, dtype = chosen.pop("loop"), chosen.pop("dtype")
    repeat = partial(flows.Repeat, unroll=loop == "unroll", backward=execution.backward)
    return Execution(dtype=jnp.dtype(dtype), **chosen), repeat
