"""Everything that depends on the step number: epochs, learning rates, freeze, EMA decay (Section 6 of the paper).

An epoch is a fixed number of images; the first has the number 0. Python integers turn the start of an epoch into the
number of its first step. So step numbers on the device are only compared, never multiplied: int32 products of steps
and images would overflow in a long run.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

Step = int | Int[Array, ""]


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

    def learns(self, step: Step, group: str) -> Bool[Array, ""] | bool:
        """Whether a group learns in a step. The number of the step may be on the device."""
        return self.freeze_step is None or group != self.frozen_group or step < self.freeze_step

    def _decay_steps(self) -> np.ndarray:
        """Steps at which the rates decay: the first of each even epoch above `decay_after` in the run."""
        epoch = self.train.decay_after + 2 - self.train.decay_after % 2
        steps = []
        while (first := self.first_step(epoch)) < self.train.num_steps:
            steps.append(first)
            epoch += 2
        return np.asarray(steps, np.int32)

    def rates(self, step: Step) -> dict[str, Float[Array, ""]]:
        """Learning rates of every group in `step` (the number of steps done before it).

        base * decay^(even epochs above `decay_after` that were reached), times the warm-up (linear from 0 at
        step 0 to 1 at step `warmup_steps`, or when `warmup_images` images were used), times the final decay (linear
        to 0 at step `num_steps`). It is 0 for a group that does not learn.
        """
        train = self.train
        step = jnp.asarray(step, jnp.int32)
        decays = jnp.searchsorted(jnp.asarray(self._decay_steps()), step, side="right")
        factor = jnp.float32(1.0)
        if train.warmup_steps > 0:
            factor = factor * jnp.minimum(1.0, step / train.warmup_steps)
        if train.warmup_images > 0:
            # Divide steps instead of multiplying, because a number of images may not fit into 32 bits.
            used = step / (train.warmup_images / train.batch_size) + self.offset / train.warmup_images
            factor = factor * jnp.minimum(1.0, used)
        if train.final_decay > 0:
            remaining = (train.num_steps - step) / (train.final_decay * train.num_steps)
            factor = factor * jnp.clip(remaining, 0.0, 1.0)
        rates = {}
        for group, base in train.learning_rate.items():
            rate = base * jnp.float32(train.decay[group]) ** decays * factor
            rates[group] = jnp.asarray(jnp.where(self.learns(step, group), rate, 0.0), jnp.float32)
        return rates

    def ema_decay(self, step: Step) -> Float[Array, ""]:
        """Decay of the EMA in `step`: 0 (a copy) during epoch 0, `ema_decay` after it."""
        step = jnp.asarray(step, jnp.int32)
        return jnp.where(step < self.first_step(1), 0.0, self.train.ema_decay).astype(jnp.float32)


def schedule(config: ConfigDict, train_images: int, offset: int = 0, frozen_group: str | None = None) -> Schedule:
    """The schedule of a config.

    Args:
      config: the whole config.
      train_images: images in the training set; the length of an epoch, unless `train.images_per_epoch` is set.
      offset: see `Schedule`; valid from the step at which the run was resumed.
      frozen_group: see `ImageModel`.
    """
    return Schedule(config.train, config.train.images_per_epoch or train_images, offset, frozen_group)
