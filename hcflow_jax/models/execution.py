"""How a model is computed: the config's group `execution`, with every "auto" replaced by the backend's preset."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from hcflow_jax import flows
from hcflow_jax.nets.layers import Execution

PRESETS = {
    "cpu": dict(
        dtype="float32", loop="scan", conv="shifted", resample="taps", gain="result", halves="one", update="vectors"
    ),
    "gpu": dict(
        dtype="bfloat16",
        loop="unroll",
        conv="paired",
        resample="taps",
        gain="weights",
        halves="one",
        update="vectors",
    ),
    "tpu": dict(
        dtype="bfloat16", loop="scan", conv="xla", resample="matrix", gain="weights", halves="one", update="tensors"
    ),
}


def resolve_execution(execution: ConfigDict) -> dict[str, str]:
    """The fields of a preset, with every "auto" in the config's group `execution` replaced by the preset's value.

    The preset is that of `execution.preset` or, for "auto", that of JAX's default backend.
    """
    backend = execution.preset if execution.preset != "auto" else jax.default_backend()
    preset = PRESETS.get(backend, PRESETS["gpu"])
    return {k: v if execution[k] == "auto" else execution[k] for k, v in preset.items()}


def parts(execution: ConfigDict) -> tuple[Execution, Any]:
    """How a family builds its model.

    Returns:
      The `Execution` of the networks, and `flows.Repeat` with its arguments `unroll` and `backward` set.
    """
    chosen = resolve_execution(execution)
    loop, dtype = chosen.pop("loop"), chosen.pop("dtype")
    del chosen["update"]  # the optimizer's
    repeat = partial(flows.Repeat, unroll=loop == "unroll", backward=execution.backward)
    return Execution(dtype=jnp.dtype(dtype), **chosen), repeat
