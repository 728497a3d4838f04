"""Whether a run may go on from a checkpoint: what may differ between its config and the one it was saved with."""

from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError
from hcflow_jax.training import workdir

# What is trained is the same whatever these are: where it began, how long, what is written down, kept and measured on
# the way, how it is computed, and where the images lie (which they are is compared by themselves, see `position`).
FREE = (
    "train.init_from",
    "train.num_steps",
    "train.log_every",
    "train.eval_every",
    "train.sample_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.keep_every",
    "train.watch_every",
    "train.max_skipped",
    "train.accumulate",
    "eval.",
    "sample.",
    "execution.",
    "data.source",
    "data.path",
    "data.name",
    "data.eval_path",
    "data.style",
    "data.train_images",
    "data.eval_images",
    "data.eval_fraction",
    "data.read_threads",
    "data.read_timeout",
    "data.allow_other_images",
)


def is_free(change: str) -> bool:
    """Whether a field may differ; `change` is one of `workdir.changes`."""
    field = change.split(":", 1)[0]
    return any(field == free or (free.endswith(".") and field.startswith(free)) for free in FREE)


def check(before: ConfigDict, now: ConfigDict, allow: bool = False) -> None:
    """Compares the config of a checkpoint with that of the run that resumes it.

    Args:
      before: the config it was saved with.
      now: that of the run.
      allow: let every field differ.

    Raises:
      ConfigError: fields differ that say what is trained; all of them, as "train.clip_norm: 50.0 -> 10.0".
    """
    refused = [change for change in workdir.changes(before, now) if not is_free(change)]
    if refused and not allow:
        raise ConfigError(
            f"the checkpoint was trained with another config: {'; '.join(refused)}; "
            "set it back, name another workdir, or --allow_config_change to go on with the new one"
        )
