"""Everything that depends on the step number: epochs, learning rates, freeze, EMA decay (Section 6 of the paper).

An epoch is a fixed number of images; the first has the number 0. Python integers turn the start of an epoch into the
number of its first step. So step numbers on the device are only compared, never multiplied: int32 products of steps
and images would overflow in a long run.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

Step = int | Int[Array, ""]

_Array = Array | np.ndarray
_NEVER = 2**31 - 1  # a step that no run reaches
_DECAYS = 64  # least length of `Numbers.decay_steps`


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Numbers:
    """The numbers of a schedule. They are an argument of the training step, so another rate compiles nothing anew.

    Attributes:
      rates: base learning rate by group, float32.
      decays: by group, float32: what the rate is multiplied with at each of `decay_steps`.
      decay_steps: int32, in order; filled up with the greatest number, so that few lengths, and programs, come up.
      warmup_steps: int32.
      warmup_images: float32, in batches.
      used_before: float32: the share of the warm-up in images that steps of another batch size used, see
        `Schedule.offset`.
      num_steps: int32.
      final_steps: float32, of the final decay.
      freeze_step: int32; the greatest number if nothing freezes.
      ema_from: int32, the first step of the average.
      ema_decay: float32.
    """

    rates: dict[str, Float[_Array, ""]]
    decays: dict[str, Float[_Array, ""]]
    decay_steps: Int[_Array, " n"]
    warmup_steps: Int[_Array, ""]
    warmup_images: Float[_Array, ""]
    used_before: Float[_Array, ""]
    num_steps: Int[_Array, ""]
    final_steps: Float[_Array, ""]
    freeze_step: Int[_Array, ""]
    ema_from: Int[_Array, ""]
    ema_decay: Float[_Array, ""]


@dataclass(frozen=True)
class Schedule:
    """Learning rates and EMA decay as functions of the number of steps done.

    Attributes:
      train: the config's `train` group.
      images_per_epoch: images; an epoch is floor((step * batch_size + offset) / images_per_epoch).
      offset: correction for earlier steps that used another batch size, in images.
      frozen_group: the rate group that does not learn from `train.freeze_epoch` on; None: every group always learns.
    """

    train: ConfigDict
    images_per_epoch: int
    offset: int = 0
    frozen_group: str | None = None

    def first_step(self, epoch: int) -> int:
        """The first step that belongs to `epoch` or a later one."""
        return max(0, -((self.offset - epoch * self.images_per_epoch) // self.train.batch_size))

    @property
    def freeze_step(self) -> int | None:
        """The first step in which the frozen group does not learn; None if it always does."""
        freezes = self.frozen_group is not None and self.train.freeze_epoch > 0
        return self.first_step(self.train.freeze_epoch) if freezes else None

    def frozen(self, step: int) -> bool:
        """Whether the frozen group does not learn in this step."""
        return self.freeze_step is not None and step >= self.freeze_step

    def learns(self, step: Step, group: str, numbers: Numbers | None = None) -> Bool[Array, ""] | bool:
        """Whether a group learns in a step. Step and numbers may be on the device."""
        if self.freeze_step is None or group != self.frozen_group:
            return True
        return step < (self.freeze_step if numbers is None else jnp.asarray(numbers.freeze_step))

    def numbers(self) -> Numbers:
        """The schedule's numbers, on the host."""
        train, freeze, steps = self.train, self.freeze_step, self._decay_steps()
        length = max(_DECAYS, 1 << (len(steps) - 1).bit_length() if len(steps) else 0)
        return Numbers(
            rates={group: _float(rate) for group, rate in train.learning_rate.items()},
            decays={group: _float(train.decay[group]) for group in train.learning_rate},
            decay_steps=np.pad(steps, (0, length - len(steps)), constant_values=_NEVER),
            warmup_steps=_int(train.warmup_steps),
            warmup_images=_float(train.warmup_images / train.batch_size),
            used_before=_float(self.offset / train.warmup_images if train.warmup_images else 0),
            num_steps=_int(train.num_steps),
            final_steps=_float(train.final_decay * train.num_steps),
            freeze_step=_int(_NEVER if freeze is None else min(freeze, _NEVER)),
            ema_from=_int(min(self.first_step(1), _NEVER)),
            ema_decay=_float(train.ema_decay),
        )

    def _decay_steps(self) -> np.ndarray:
        """Steps at which the rates decay: the first of each even epoch above `decay_after` in the run."""
        epoch = self.train.decay_after + 2 - self.train.decay_after % 2
        steps = []
        while (first := self.first_step(epoch)) < self.train.num_steps:
            steps.append(first)
            epoch += 2
        return np.asarray(steps, np.int32)

    def rates(self, step: Step, numbers: Numbers | None = None) -> dict[str, Float[Array, ""]]:
        """Learning rates of every group in `step` (the number of steps done before it).

        base * decay^(even epochs above `decay_after` that were reached), times the warm-up (linear from 0 at
        step 0 to 1 at step `warmup_steps`, or when `warmup_images` images were used), times the final decay (linear
        to 0 at step `num_steps`). It is 0 for a group that does not learn.

        Args:
          step: may be on the device.
          numbers: this schedule's own, where they are an argument of a program.
        """
        train, own = self.train, self.numbers() if numbers is None else numbers
        step = jnp.asarray(step, jnp.int32)
        decays = jnp.searchsorted(jnp.asarray(own.decay_steps), step, side="right")
        factor = jnp.float32(1.0)
        if train.warmup_steps > 0:
            factor = factor * jnp.minimum(1.0, step / own.warmup_steps)
        if train.warmup_images > 0:
            # Divide steps instead of multiplying, because a number of images may not fit into 32 bits.
            factor = factor * jnp.minimum(1.0, step / own.warmup_images + own.used_before)
        if train.final_decay > 0:
            factor = factor * jnp.clip((own.num_steps - step) / own.final_steps, 0.0, 1.0)
        rates = {}
        for group in train.learning_rate:
            rate = own.rates[group] * own.decays[group] ** decays * factor
            rates[group] = jnp.asarray(jnp.where(self.learns(step, group, numbers), rate, 0.0), jnp.float32)
        return rates

    def ema_decay(self, step: Step, numbers: Numbers | None = None) -> Float[Array, ""]:
        """Decay of the EMA in `step`: 0 (a copy) during epoch 0, `ema_decay` after it. Arguments as of `rates`."""
        own = self.numbers() if numbers is None else numbers
        step = jnp.asarray(step, jnp.int32)
        return jnp.where(step < own.ema_from, 0.0, own.ema_decay).astype(jnp.float32)


def schedule(config: ConfigDict, train_images: int, offset: int = 0, frozen_group: str | None = None) -> Schedule:
    """The schedule of a config.

    Args:
      config: the whole config.
      train_images: images in the training set; the length of an epoch, unless `train.images_per_epoch` is set.
      offset: see `Schedule`; valid from the step at which the run was resumed.
      frozen_group: see `ImageModel`.
    """
    return Schedule(config.train, config.train.images_per_epoch or train_images, offset, frozen_group)


def _int(value: int) -> np.ndarray:
    return np.asarray(value, np.int32)


def _float(value: float) -> np.ndarray:
    return np.asarray(value, np.float32)
