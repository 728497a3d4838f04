"""`--mode=eval`: the held-out bound of what a workdir's newest checkpoint holds."""

from contextlib import closing
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax import checkpoint, devices, models, settings
from hcflow_jax.config import ConfigError, check_paths
from hcflow_jax.data import pipeline
from hcflow_jax.training import distributed, resumption, sharding, workdir
from hcflow_jax.training.held_out import HeldOut
from hcflow_jax.training.metrics import Clock, say
from hcflow_jax.training.programs import Programs

EVAL = "eval.json"


@settings.own()
def evaluate(path: str | Path, config: ConfigDict | None = None) -> dict[str, Any]:
    """Evaluates the EMA's parameters and writes `eval.json`.

    Args:
      path: a workdir.
      config: the whole config, its `data` and `eval` being what may differ from the checkpoint's own; None
        takes the checkpoint's.

    Returns:
      What `eval.json` holds: `step`, and the bound as `Bound.as_dict` gives it.

    Raises:
      CheckpointError: there is no checkpoint.
      ConfigError: the model is another one than the checkpoint's; `eval.batch_size` does not split over the devices;
        or the workdir cannot be written.
      DataError: the held-out images are not there.
      EnvironmentSettingError: JAX cannot start as the environment says.
    """
    if config is not None:
        check_paths(config)
    devices.start()
    found = checkpoint.load(path)
    directory = workdir.open_workdir(path)
    for change in resumption.changes(found.config, config) if config is not None else ():
        if change.startswith("model."):
            raise ConfigError(
                f"{change} is not what {directory} was trained with: leave --config out, or set it back"
            )
        say(f"a field that differs from the checkpoint's: {change}")
    config = config or found.config
    model = models.build(config)
    mesh = sharding.make_mesh(config, model.batch_unit, ("eval",))
    held_out = HeldOut(model, config, Programs(Clock()), mesh)
    with closing(pipeline.eval_batches(config, **distributed.share(), batch_unit=model.batch_unit)) as batches:
        params = held_out.prepare(sharding.place(sharding.replicated(mesh), found.arrays["ema"]))
        bound = held_out.bound(params, batches)
    result = {"step": found.step, **bound.as_dict()}
    workdir.write_json(directory / EVAL, result)
    say(f"step {found.step}  {bound}")
    return result
