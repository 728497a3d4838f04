"""Whether a run may go on from a checkpoint: what may differ between its config and the one it was saved with."""

from ml_collections import ConfigDict

from hcflow_jax.config import ConfigError, may_change
from hcflow_jax.training import workdir


def check(before: ConfigDict, now: ConfigDict, allow: bool = False) -> None:
    """Compares the config of a checkpoint with that of the run that resumes it.

    Fields that do not affect what is learned may differ: they are declared so (`Field.resume`). The images themselves
    are compared in `position`.

    Args:
      before: the config it was saved with.
      now: that of the run.
      allow: let every field differ.

    Raises:
      ConfigError: fields differ that say what is trained; all of them, as "train.clip_norm: 50.0 -> 10.0".
    """
    refused = [change for change in workdir.changes(before, now) if not may_change(now, change.split(":", 1)[0])]
    if refused and not allow:
        raise ConfigError(
            f"the checkpoint was trained with another config: {'; '.join(refused)}; "
            "set it back, name another workdir, or --allow_config_change to go on with the new one"
        )
