"""`--mode=eval`: measures the newest checkpoint of a workdir by the metrics in `eval.metrics`."""

from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from hcflow_jax import buckets, checkpoint, devices, models, pictures, settings
from hcflow_jax.api import sampling_file
from hcflow_jax.api.arguments import Sigma
from hcflow_jax.config import ConfigError, check_paths
from hcflow_jax.data import pipeline
from hcflow_jax.layout import EVAL
from hcflow_jax.paths import Place
from hcflow_jax.training import distributed, measuring, resumption, sharding, workdir
from hcflow_jax.training.held_out import HeldOut
from hcflow_jax.training.metrics import Clock, add_scalars, say
from hcflow_jax.training.programs import Programs
from hcflow_jax.training.termination import Interrupted, Termination


@settings.own()
def evaluate(path: str | Path, config: ConfigDict | None = None) -> dict[str, Any]:
    """Evaluates the EMA parameters. Writes `eval.json`, sheets as PNGs, and numbers for TensorBoard.

    Samples have the tuned sigma that is stored with the run. If there is none, or `config` changes `sample.sigma`,
    they have the config's.

    Args:
      path: a workdir, a directory or gs://BUCKET/NAME.
      config: the whole config; the group `model` must be that of the checkpoint. None: the config of the checkpoint.

    Returns:
      The contents of `eval.json`: `step`, the bound (`Bound.as_dict`) if `eval.metrics` has "bits", and the other
      metrics (`measure.Measured.values`).

    Raises:
      CheckpointError: there is no checkpoint, or `sampling.json` is damaged.
      ConfigError: the model differs from that of the checkpoint; `eval.batch_size` cannot be divided over the
        devices; or the workdir cannot be written.
      DataError: the held-out images are missing.
      EnvironmentSettingError: JAX cannot start with these environment variables.
      Stopped: there are several processes, and one of them got a signal. They end after the batch of the bound, or
        after all other metrics, which are then written. A single process is stopped as usual.
    """
    if config is not None:
        check_paths(config)
    devices.start()
    termination = Termination()
    # A signal stops a single process at once. Several processes vote, because otherwise one would wait for another.
    with termination.noticed() if jax.process_count() > 1 else nullcontext():
        try:
            found = _evaluate(path, config, termination)
        except Interrupted:
            say(f"{termination.name}: stopped; nothing was written")
            termination.end()
        if jax.process_count() > 1:
            _end_if_asked(termination)
        return found


def _end_if_asked(termination: Termination) -> None:
    """Ends all processes if one of them got a signal in work that could not be interrupted."""
    termination.votes = lambda wish: int(np.max(multihost_utils.process_allgather(np.asarray(wish))))
    termination.vote()
    if termination.requested:
        say(f"{termination.name}: stopped after the evaluation; its results are written")
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
    measures = measuring.Measuring(config, _tuned_sigma(where, found, config))
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


def _tuned_sigma(where: Place, found: checkpoint.Checkpoint, config: ConfigDict) -> Sigma | None:
    """The sigma that `hcflow tune-sigma` stored with the run; None if there is none, or `sample.sigma` is changed."""
    if config.sample.sigma != found.config.sample.sigma:
        return None
    with buckets.named_errors(where):
        return sampling_file.read(where)


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
