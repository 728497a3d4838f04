"""`Result`: what the compiled training step of a config needs on one device of a target."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from hcflow_jax import models
from hcflow_jax.config import ConfigError, flat
from hcflow_jax.models.execution import resolve_execution
from hcflow_jax.planning.targets import Target
from hcflow_jax.training import state
from hcflow_jax.training.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class Result:
    """What one training step needs on one device.

    Attributes:
      target: the name of the target for which the step was compiled.
      devices: the number of devices of that target.
      batch_per_device: images.
      execution: the fields of `execution` with which it was compiled, without "auto".
      state_bytes: "parameters", "EMA" and "optimizer".
      image_bytes: the images of a device, uint8.
      memory_bytes: XLA's plan: "arguments", "temporaries" and "outputs" that do not take an argument's place.
      ms_per_image: the modelled time of computing, without the collective operations.
      model_of_time: "roofline" (GPUs) or "cycles" (TPUs); see docs/plan.md.
      collectives: "number" of all-reduces in a step, and their "bytes".
      jax: the version of JAX that compiled it.
      date: the day, as 2026-11-29.
      command: the command that compiled it.
    """

    target: str
    devices: int
    batch_per_device: int
    execution: Mapping[str, str]
    state_bytes: Mapping[str, int]
    image_bytes: int
    memory_bytes: Mapping[str, int]
    ms_per_image: float
    model_of_time: str
    collectives: Mapping[str, int]
    jax: str
    date: str
    command: str


def for_target(config: ConfigDict, target: Target, batch: int, precision: str | None = None) -> ConfigDict:
    """The config as a run on the target would have it.

    Args:
      config: the config of a user.
      target: the devices.
      batch: the images of a device.
      precision: `execution.dtype`; None: that of the config.
    """
    made = ConfigDict(config.to_dict())
    made.execution.preset = target.preset
    if precision:
        made.execution.dtype = precision
    made.train.batch_size = batch * target.size
    return made.lock()


def program_of(config: ConfigDict) -> dict[str, Any]:
    """The fields that decide what the training step computes. Configs with the same values have the same cost.

    The numbers of the schedule and of the optimizer are left out.
    """
    kept = ("data.resolution", "data.bits", "data.flip", "train.optimizer", "train.accumulate")
    rest = ("execution.encoder_dtype", "execution.backward")
    fields = {name: v for name, v in flat(config).items() if name.startswith("model.") or name in (*kept, *rest)}
    return fields | {f"execution.{name}": value for name, value in resolve_execution(config.execution).items()}


def check_batch(config: ConfigDict, target: Target, batch: int) -> None:
    """Checks that a device can take a batch.

    Args:
      config: the config of a user, with its own batch.
      target: the devices.
      batch: the images of a device.

    Raises:
      ConfigError: a value of the config is not allowed, or the batch is not a multiple of what the model needs.
    """
    own = for_target(config, target, batch)
    own.train.batch_size = config.train.batch_size
    unit = models.build(own).batch_unit * config.train.accumulate
    if batch % unit:
        parts = f" times train.accumulate={config.train.accumulate}" if config.train.accumulate > 1 else ""
        raise ConfigError(
            f"--batch-per-device {batch}: must be a multiple of {unit}, the model's batch unit{parts}; "
            f"the nearest that is one is {max(unit, round(batch / unit) * unit)}"
        )


def from_report(
    config: ConfigDict, target: Target, batch: int, report: Mapping[str, Any], command: str, date: str | None = None
) -> Result:
    """The result of a compiled training step.

    Args:
      config: the config; see `for_target`.
      target: the devices.
      batch: the images of a device.
      report: from `compiled.report`.
      command: the command that compiled it.
      date: the day on which it was compiled; None: today.
    """
    model = models.build(config)
    optimizer = Optimizer.of(model, config)
    abstract = jax.eval_shape(lambda params: state.create(params, optimizer), model.shapes())
    if target.is_gpu:
        roofline = report["roofline"]
        ms = roofline["ms_per_image"] - roofline["by_kind"]["collective"]["ms_per_image"]
    else:
        ms = report["ms_per_image"]
    return Result(
        target=target.name,
        devices=target.size,
        batch_per_device=batch,
        execution=resolve_execution(config.execution),
        state_bytes={
            "parameters": _bytes(abstract.params),
            "EMA": _bytes(abstract.ema),
            "optimizer": _bytes(abstract.opt_state),
        },
        image_bytes=batch * 3 * config.data.resolution**2,
        memory_bytes={name: round(size * 1e9) for name, size in report["memory_gigabytes"].items()},
        ms_per_image=ms,
        model_of_time="roofline" if target.is_gpu else "cycles",
        collectives={
            "number": report["all_reduces"]["number"],
            "bytes": round(report["all_reduces"]["megabytes"] * 1e6),
        },
        jax=jax.__version__,
        date=date or datetime.date.today().isoformat(),
        command=command,
    )


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
