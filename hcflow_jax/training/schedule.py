"""Values that depend on the step number: epochs, learning rates, freeze and EMA decay (docs/training.md, Schedules).

An epoch is a fixed number of images; the first has the number 0. The host computes the first step of an epoch, with
Python integers. On the device, step numbers are only compared, because int32 products of steps and images would
overflow in a long run.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

Step = int | Int[Array, ""]

_Array = Array | np.ndarray
_NEVER = 2**31 - 1  # a step that no run reaches
_DECAYS = 64  # the smallest length of `Numbers.decay_steps`


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Numbers:
    """The numbers of a schedule, an argument of the training step, so that other numbers use the same program.

    Attributes:
      rates: the base learning rates by group, float32.
      decays: the factors of the learning rates at each of `decay_steps`, by group, float32.
      decay_steps: steps in increasing order, int32. Padded with the largest int32, so that only few lengths, and
        therefore few programs, occur.
      warmup_steps: the length of the warm-up, int32.
      warmup_images: the length of the warm-up in images, divided by the batch size, float32.
      used_before: the fraction of the warm-up in images that steps of another batch size have used, float32; see
        `Schedule.offset`.
      num_steps: the length of the run, int32.
      final_steps: the length of the final decay in steps, float32.
      freeze_step: the first step in which the frozen group does not learn, int32; the largest int32 if there is none.
      ema_from: the first step in which the EMA is an average, int32.
      ema_decay: the decay of the EMA, float32.
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
    """Learning rates and EMA decay as functions of the number of finished steps.

    Attributes:
      train: the config's group `train`.
      images_per_epoch: the length of an epoch, images. The epoch of a step is
        floor((step * batch_size + offset) / images_per_epoch).
      offset: a correction for earlier steps that used another batch size, images.
      frozen_group: the rate group that does not learn from `train.freeze_epoch` on; None: all groups always learn.
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
        """Whether a group learns in a step.

        Args:
          step: the number of finished steps before it; may be on the device.
          group: the rate group.
          numbers: as in `rates`.
        """
        if self.freeze_step is None or group != self.frozen_group:
            return True
        return step < (self.freeze_step if numbers is None else jnp.asarray(numbers.freeze_step))

    def numbers(self) -> Numbers:
        """The numbers of the schedule, on the host."""
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
        """The steps at which the rates decay: the first step of each even epoch above `decay_after` in the run."""
        begin = self.train.decay_after + 2 - self.train.decay_after % 2
        end = (self.train.num_steps * self.train.batch_size + self.offset) // self.images_per_epoch + 1
        epochs = np.arange(begin, end, 2)
        first = np.maximum(0, -((self.offset - epochs * self.images_per_epoch) // self.train.batch_size))
        return first[first < self.train.num_steps].astype(np.int32)

    def fallen(self, group: str, share: float) -> int | None:
        """The first step in which the decays leave at most `share` of a group's base rate; None if no step does.

        Warm-up, final decay and freeze are not counted.

        Args:
          group: the rate group.
          share: above 0, and below 1.
        """
        decay, steps = self.train.decay[group], self._decay_steps()
        count = 1 if decay <= share else math.inf if decay >= 1 else math.ceil(math.log(share) / math.log(decay))
        return int(steps[int(count) - 1]) if count <= len(steps) else None

    def rates(self, step: Step, numbers: Numbers | None = None) -> dict[str, Float[Array, ""]]:
        """The learning rates of all groups in a step (Table 2).

        A rate is base * decay^n, times the warm-up, times the final decay. n is the number of even epochs above
        `decay_after` that have begun. The warm-up is linear, from 0 at step 0 to 1 at step `warmup_steps`, or when
        `warmup_images` images have been used. The final decay is linear, to 0 at step `num_steps`. A group that does
        not learn has rate 0.

        Args:
          step: the number of finished steps before it; may be on the device.
          numbers: the result of `numbers`, if it is an argument of the program; None: it is computed here.

        Returns:
          {group: rate}, float32.
        """
        train, own = self.train, self.numbers() if numbers is None else numbers
        step = jnp.asarray(step, jnp.int32)
        decays = jnp.searchsorted(jnp.asarray(own.decay_steps), step, side="right")
        factor = jnp.float32(1.0)
        if train.warmup_steps > 0:
            factor = factor * jnp.minimum(1.0, step / own.warmup_steps)
        if train.warmup_images > 0:
            # Steps are divided, because the product of steps and batch size may not fit into 32 bits.
            factor = factor * jnp.minimum(1.0, step / own.warmup_images + own.used_before)
        if train.final_decay > 0:
            factor = factor * jnp.clip((own.num_steps - step) / own.final_steps, 0.0, 1.0)
        rates = {}
        for group in train.learning_rate:
            rate = own.rates[group] * own.decays[group] ** decays * factor
            rates[group] = jnp.asarray(jnp.where(self.learns(step, group, numbers), rate, 0.0), jnp.float32)
        return rates

    def ema_decay(self, step: Step, numbers: Numbers | None = None) -> Float[Array, ""]:
        """The decay of the EMA in a step: 0 (a copy) during epoch 0, then `ema_decay`. Arguments as in `rates`."""
        own = self.numbers() if numbers is None else numbers
        step = jnp.asarray(step, jnp.int32)
        return jnp.where(step < own.ema_from, 0.0, own.ema_decay).astype(jnp.float32)


def schedule(config: ConfigDict, train_images: int, offset: int = 0, frozen_group: str | None = None) -> Schedule:
    """The schedule of a config.

    Args:
      config: the whole config.
      train_images: the number of training images: the length of an epoch, unless `train.images_per_epoch` is set.
      offset: see `Schedule`. It is valid from the step at which the run resumes.
      frozen_group: see `ImageModel`.
    """
    return Schedule(config.train, config.train.images_per_epoch or train_images, offset, frozen_group)


def _int(value: int) -> np.ndarray:
    return np.asarray(value, np.int32)


def _float(value: float) -> np.ndarray:
    return np.asarray(value, np.float32)
