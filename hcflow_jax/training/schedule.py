"""What depends on the step number: epochs, learning rates, the freeze, the EMA's decay (Section 6 of the
model).

An epoch is a number of images, counted from 0. Every boundary is turned into the number of the first step
that lies beyond it with Python integers, so that a step number on the device is only ever compared, never
multiplied: int32 products of steps and images would overflow in a long run.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

GROUPS = ("encoder", "decoder", "flows")

Step = int | Int[Array, ""]


@dataclass(frozen=True)
class Schedule:
    """Learning rates and EMA decay as functions of the number of steps done.

    Attributes:
      train: the config's `train` group.
      images_per_epoch: images; an epoch is floor((step * batch_size + offset) / images_per_epoch).
      offset: images that earlier steps used beyond `batch_size` each, in a run that was resumed with another.
    """

    train: ConfigDict
    images_per_epoch: int
    offset: int = 0

    def first_step(self, epoch: int) -> int:
        """The first step that belongs to `epoch` or a later one."""
        return max(0, -((self.offset - epoch * self.images_per_epoch) // self.train.batch_size))

    @property
    def freeze_step(self) -> int | None:
        """The first step in which the encoder does not learn; None if it always does."""
        return self.first_step(self.train.freeze_epoch) if self.train.freeze_epoch > 0 else None

    def frozen(self, step: int) -> bool:
        """Whether the encoder is left alone in this step."""
        return self.freeze_step is not None and step >= self.freeze_step

    def is_frozen(self, step: Step) -> Bool[Array, ""]:
        """`frozen`, of a step number on the device."""
        return jnp.asarray(False if self.freeze_step is None else step >= self.freeze_step)

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
        step 0 to 1 at step `warmup_steps`), times the final decay (linear to 0 at step `num_steps`). The
        encoder's is 0 once it is frozen.
        """
        train = self.train
        step = jnp.asarray(step, jnp.int32)
        decays = jnp.searchsorted(jnp.asarray(self._decay_steps()), step, side="right")
        factor = jnp.float32(1.0)
        if train.warmup_steps > 0:
            factor = factor * jnp.minimum(1.0, step / train.warmup_steps)
        if train.final_decay > 0:
            remaining = (train.num_steps - step) / (train.final_decay * train.num_steps)
            factor = factor * jnp.clip(remaining, 0.0, 1.0)
        rates = {
            group: train.learning_rate[group] * jnp.float32(train.decay[group]) ** decays * factor for group in GROUPS
        }
        if self.freeze_step is not None:
            rates["encoder"] = jnp.where(step >= self.freeze_step, 0.0, rates["encoder"])
        return {group: jnp.asarray(rate, jnp.float32) for group, rate in rates.items()}

    def ema_decay(self, step: Step) -> Float[Array, ""]:
        """Decay of the EMA in `step`: 0 (a copy) during epoch 0, `ema_decay` after it."""
        step = jnp.asarray(step, jnp.int32)
        return jnp.where(step < self.first_step(1), 0.0, self.train.ema_decay).astype(jnp.float32)


def schedule(config: ConfigDict, train_images: int, offset: int = 0) -> Schedule:
    """The schedule of a config.

    Args:
      config: the whole config.
      train_images: images in the training set; an epoch's length unless `train.images_per_epoch` says
        otherwise.
      offset: see `Schedule`; what holds from the step on at which the run was resumed.
    """
    return Schedule(config.train, config.train.images_per_epoch or train_images, offset)
