"""Resumes from a checkpoint. Checks that the config and the training images have not changed."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.checkpoint import Checkpoints
from hcflow_jax.config import ConfigError, differences, may_change
from hcflow_jax.data import DataError, Source, identity
from hcflow_jax.paths import Place
from hcflow_jax.training.metrics import say
from hcflow_jax.training.state import TrainState
from hcflow_jax.training.stored import Storage


def resume(
    checkpoints: Checkpoints, storage: Storage, config: ConfigDict, images: Source, allow_config_change: bool = False
) -> tuple[TrainState, int, int] | None:
    """Restores the newest checkpoint that can be read, and prints what has changed since it was saved.

    Args:
      checkpoints: the checkpoints of the run.
      storage: converts the stored state.
      config: the whole config of the run that resumes.
      images: the training images of the run that resumes.
      allow_config_change: whether any field of the config may differ.

    Returns:
      The state, the number of finished steps, and the number of used images; None if there is no checkpoint yet.

    Raises:
      CheckpointError: no step can be read, the newest belongs to another model, or several processes do not find or
        read the same.
      ConfigError: a field of the config differs and must not.
      DataError: the training images are not those of the checkpoint.
    """
    found = checkpoints.restore_latest(storage.template, lambda before: check(before, config, allow_config_change))
    if found is None:
        return None
    say(f"resuming at step {found.step}")
    for change in changes(found.config, config):
        say(f"  a field changed since it was saved: {change}")
    if other := check_images(found.metadata.get("data"), images, config.data):
        say(f"  {other}")
    return storage.state(found.arrays), found.step, found.metadata["next_index"]


def changes(before: ConfigDict, now: ConfigDict) -> list[str]:
    """The fields in which two configs differ, as "train.num_steps: 100 -> 200"."""
    return [
        f"{name}: {'absent' if old is None else old} -> {'absent' if new is None else new}"
        for name, (old, new) in differences(before, now).items()
    ]


def check(before: ConfigDict, now: ConfigDict, allow: bool = False) -> None:
    """Compares the config of a checkpoint with that of the run that resumes it.

    Fields that do not affect what is learned may differ (`Field.resume`). `check_images` compares the images.

    Args:
      before: the config of the checkpoint.
      now: the config of the run.
      allow: whether any field except `train.optimizer` may differ.

    Raises:
      ConfigError: other fields differ. The message lists them, as "train.clip_norm: 50.0 -> 10.0". Or the optimizer
        differs, which is never allowed: the moments of one optimizer mean nothing to another.
    """
    if before.train.optimizer != now.train.optimizer:
        raise ConfigError(
            f"train.optimizer: {before.train.optimizer} -> {now.train.optimizer}: another optimizer cannot continue "
            "with the moments in the checkpoint, not even with --allow_config_change; set it back, or name another "
            "workdir and start from these weights with train.init_from=WORKDIR"
        )
    refused = [change for change in changes(before, now) if not may_change(now, change.split(":", 1)[0])]
    if refused and not allow:
        raise ConfigError(
            f"the checkpoint was trained with another config: {'; '.join(refused)}; "
            "set it back, name another workdir, or give --allow_config_change to continue with the new config"
        )


def check_length(config: ConfigDict, step: int, workdir: Place) -> None:
    """Checks that a run does not end before the step from which it would resume.

    Raises:
      ConfigError: it does.
    """
    if step > (steps := config.train.num_steps):
        raise ConfigError(
            f"train.num_steps is {steps}, but the newest checkpoint in {workdir} is of step {step}: set "
            f"train.num_steps to {step} or more, or name another workdir"
        )


def describe_images(source: Source) -> dict[str, Any]:
    """Describes a training set for the metadata of a checkpoint (`identity.describe`). It may read 16 images."""
    return identity.describe(source)


def check_images(stored: Mapping[str, Any] | None, source: Source, data: ConfigDict) -> str | None:
    """Compares the training set of a checkpoint with that of the run that resumes it.

    Other images are refused, because the run would no longer be the same, unless `data.allow_other_images` is set. If
    the names are the same, the pixels of a few images are compared (`identity.same`).

    Args:
      stored: the result of `describe_images` in the checkpoint; None in a checkpoint of an earlier version.
      source: the training images of the run.
      data: the config's group `data`; `allow_other_images` is used.

    Returns:
      A message about a difference that is allowed; None if there is no difference.

    Raises:
      DataError: the images differ.
    """
    if stored is None or identity.same(stored, describe_images(source)):
        return None
    images = f"{stored['name']} ({stored['count']:,} images), and now it is {source.name} ({len(source):,} images)"
    if data.allow_other_images:
        return f"the training images differ from those when it was saved: they were {images}"
    others = "their names are the same, but their pixels are not"
    if stored["identity"] != source.identity:
        others = "these are others"
    raise DataError(
        f"data.path: the checkpoint was trained on {images}, and {others}; "
        "set it back, or set data.allow_other_images=True to continue with these"
    )
