"""Hand-made results of compiled steps, for the tests of `hcflow plan`: round numbers, and no compiler."""

import dataclasses
from typing import Any

from hcflow_jax.planning.result import Result

# A step of 8 images on a device: 20 ms of computing, and 450 MB to sum.
MADE = Result(
    target="h200",
    devices=1,
    batch_per_device=8,
    execution={},
    state_bytes={"parameters": 100, "EMA": 100, "optimizer": 200},
    image_bytes=600,
    memory_bytes={"arguments": 1_000, "temporaries": 9_000, "outputs": 0},
    ms_per_image=2.5,
    model_of_time="roofline",
    collectives={"number": 0, "bytes": 0},
    jax="0.10.2",
    date="2026-11-29",
    command="a command",
)


def made(**changed: Any) -> Result:
    """`MADE`, with some values replaced."""
    return dataclasses.replace(MADE, **changed)


def several(target: str, devices: int, **changed: Any) -> Result:
    """The result for several devices, which sum 450 MB."""
    return made(target=target, devices=devices, collectives={"number": 2, "bytes": 450_000_000}, **changed)
