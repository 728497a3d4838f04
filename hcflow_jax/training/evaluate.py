"""`--mode=eval`: measures the newest checkpoint of a workdir by the metrics in `eval.metrics`."""

from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import checkpoint, devices, models, pictures, settings
from hcflow_jax.config import ConfigError, check_paths
from hcflow_jax.data import pipeline
from hcflow_jax.layout import EVAL
from hcflow_jax.training import distributed, measuring, resumption, sharding, workdir
from hcflow_jax.training.held_out import HeldOut
from hcflow_jax.training.metrics import Clock, add_scalars, say
from hcflow_jax.training.programs import Programs
from hcflow_jax.training.termination import Interrupted, Termination


@settings.own()
def evaluate(path: str | Path, config: ConfigDict | None = None) -> dict[str, Any]:
    """Evaluates the EMA parameters. Writes `eval.json`, sheets as PNGs, and numbers for TensorBoard.

    Args:
      path: a workdir, a directory or gs://BUCKET/NAME.
      config: the whole config; the group `model` must be that of the checkpoint. None: the config of the checkpoint.

    Returns:
      The contents of `eval.json`: `step`, the bound (`Bound.as_dict`) if `eval.metrics` has "bits", and the other
      metrics (`measure.Measured.values`).

    Raises:
      CheckpointError: there is no checkpoint.
      ConfigError: the model differs from that of the checkpoint; `eval.batch_size` cannot be divided over the
        devices; or the workdir cannot be written.
      DataError: the held-out images are missing.
      EnvironmentSettingError: JAX cannot start with these environment variables.
      Stopped: there are several processes, and one of them got a signal. A single process is stopped as usual.
    """
    if config is not None:
        check_paths(config)
    devices.start()
    termination = Termination()
    # A signal stops a single process at once. Several processes vote, because otherwise one would wait for another.
    with termination.noticed() if jax.process_count() > 1 else nullcontext():
        try:
            return _evaluate(path, config, termination)
        except Interrupted:
            say(f"{termination.name}: stopped; nothing was written")
            termination.end()


def _evaluate(path: str | Path, config: ConfigDict | None, termination: Termination) -> dict[str, Any]:
    found = checkpoint.load(path)
    where = workdir.place(path)
    for change in resumption.changes(found.config, config) if config is not None else ():
        if change.startswith("model."):
            raise ConfigError(
                f"{change} differs from the config of the run in {where}; leave out --config, or set it back"
            )
        say(f"a field differs from the checkpoint's: {change}")
    config = config or found.config
    measures = measuring.Measuring(config)
    result: dict[str, Any] = {"step": found.step}
    sheets: Mapping[str, np.ndarray] = {}
    if "bits" in measures.metrics:
        result |= _bound(found, config, termination)
    if set(measures.metrics) != {"bits"}:
        alone = jax.process_count() == 1  # with several processes, all must finish it
        others = measures(found.arrays["ema"], lambda *_: termination.check() if alone else None)
        result |= {**others.values, "seconds": others.seconds}
        sheets = others.sheets
        for line in others.lines:
            say(line)
    plain = {"bound": {name: value for name, value in result.items() if name != "step"}, **result}
    numbers = measuring.scalars({name: value for name, value in plain.items() if isinstance(value, dict)})
    with workdir.opened(where, alone=False) as place:
        for name, sheet in sheets.items() if jax.process_index() == 0 else ():
            pictures.save_png(place.folder / f"{name}.png", sheet)
            say(f"picture: {where / f'{name}.png'}")
        workdir.write_json(place.folder / EVAL, result)
        add_scalars(place.folder, found.step, {f"measure/{name}": value for name, value in numbers.items()})
    return result


def _bound(found: checkpoint.Checkpoint, config: ConfigDict, termination: Termination) -> dict[str, Any]:
    model = models.build(config)
    mesh = sharding.make_mesh(config, model.batch_unit, ("eval",))
    if jax.process_count() > 1:
        termination.votes = distributed.Votes(mesh)
    held_out = HeldOut(model, config, Programs(Clock()), mesh)
    share = distributed.share()
    with closing(
        pipeline.eval_batches(config, **share, batch_unit=model.batch_unit, while_waiting=termination.check)
    ) as batches:
        params = held_out.prepare(sharding.place(sharding.replicated(mesh), found.arrays["ema"]))
        bound = held_out.bound(params, termination.interrupts(batches))
    say(f"step {found.step}  {bound}")
    return bound.as_dict()
