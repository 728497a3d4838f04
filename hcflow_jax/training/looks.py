"""The work of a run at intervals: the bound, the other metrics, the scales of the flows, and sample sheets."""

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.data import Source, pipeline
from hcflow_jax.evaluation import measure
from hcflow_jax.evaluation.flow_scales import flow_scales
from hcflow_jax.models import ImageModel
from hcflow_jax.training import distributed, measuring, samples
from hcflow_jax.training.groups import Packed
from hcflow_jax.training.held_out import HeldOut
from hcflow_jax.training.metrics import Clock, Reporter, complain, say
from hcflow_jax.training.programs import Programs
from hcflow_jax.training.state import TrainState
from hcflow_jax.training.termination import Interrupted, Termination


class Looks:
    """Evaluates, measures, monitors the flows and samples at intervals. The programs are compiled only once.

    Attributes:
      bound: the held-out bound.
    """

    def __init__(
        self,
        config: ConfigDict,
        directory: Path,
        model: ImageModel,
        mesh: Mesh,
        programs: Programs,
        clock: Clock,
        termination: Termination,
        held_out: Source,
        unpack: Callable[[Packed], Any],
    ):
        """Does not compile anything yet.

        Args:
          config: the whole config; `train` has the intervals, `eval` and `sample` the other settings.
          directory: the workdir.
          model: the model.
          mesh: from `sharding.make_mesh`.
          programs: compiles the programs.
          clock: counts "evaluating" and "sampling".
          termination: says whether a signal interrupts the work.
          held_out: the held-out images.
          unpack: makes the tree of packed parameters.

        Raises:
          ConfigError: `eval.metrics` has an unknown metric, or none.
          InputError: the run measures, and the weights of the extractor are missing (see `extractors.load`).
        """
        self._config, self._directory, self._model, self._programs = config, directory, model, programs
        self._clock, self._termination, self._source, self._unpack = clock, termination, held_out, unpack
        self.bound = HeldOut(model, config, programs, mesh)
        self._watched = jax.jit(flow_scales)
        self._measuring = measuring.Measuring(config)
        if config.train.measure_every > 0:
            names, _, extractor = measure.wanted(config)
            if not {*measure.DISTANCES, "nearest"}.isdisjoint(names):
                extractor()  # its errors come here, not after hours of training
        self._sampler = samples.Sampler(model, config, programs, mesh)

    def due(self, step: int) -> bool:
        """Whether there is work after a step that is not the last."""
        train = self._config.train
        intervals = (train.eval_every, train.sample_every, train.watch_every, train.measure_every)
        return any(every > 0 and step % every == 0 for every in intervals)

    def measures(self, step: int) -> bool:
        """Whether `eval.metrics` are measured after a step."""
        train = self._config.train
        return step > 0 and train.measure_every > 0 and (step % train.measure_every == 0 or step == train.num_steps)

    def __call__(self, step: int, state: TrainState, reporter: Reporter) -> None:
        """Does the work that is due after a step, except work that an earlier process of the run has already done.

        A signal interrupts the work. Then the run that resumes does it again.

        Args:
          step: the number of finished steps.
          state: the state after them.
          reporter: gets the results.
        """
        train, history = self._config.train, reporter.history
        last = step == train.num_steps

        def due(every: int) -> bool:
            return last or (every > 0 and step % every == 0)

        def missing(kind: str) -> bool:
            return distributed.from_first(not history.of(kind, step))

        if (step == 0 or due(train.eval_every)) and missing("eval"):
            with suppress(Interrupted):
                self._evaluate(step, state, reporter)
        wanted = step > 0 and train.watch_every > 0 and due(train.watch_every)
        if wanted and missing("watch") and not self._termination.requested:
            self._watch(step, state, reporter)
        if self.measures(step) and missing("measure") and not self._termination.requested:
            with suppress(Interrupted):
                self._measure(step, state, reporter)
        path = samples.sheet_path(self._directory, step)
        wanted = step > 0 and due(train.sample_every)
        # A sheet of a later step is from an earlier process, whose parameters of that step were not saved.
        wanted = wanted and distributed.from_first(step > reporter.start or not path.exists())
        if wanted and not self._termination.requested:
            self._sample(step, state, reporter, path)

    def statistics(self, ema: Packed) -> dict[str, float]:
        """The statistics of the held-out images (`HeldOut.statistics`), for packed parameters."""
        return self.bound.statistics(self._unpack(ema), self._source)

    def _prepared(self, params: Packed) -> Any:
        return self.bound.prepare(self._unpack(params))

    def _sample(self, step: int, state: TrainState, reporter: Reporter, path: Path) -> None:
        """Writes a sheet of samples, with the EMA parameters."""
        try:
            with self._clock.section("sampling"):
                sheet = self._sampler.sheet(self._prepared(state.ema), path)
        except OSError as error:
            complain(f"{paths.own_names(str(path))} cannot be written ({error.strerror or error}): the run continues")
        else:
            reporter.images(step, {"samples": sheet})

    def _watch(self, step: int, state: TrainState, reporter: Reporter) -> None:
        """Reports the scales and condition numbers of the flows, for the parameters that learn, not for the EMA."""
        with self._clock.section("evaluating"):
            flows = self._model.flow_params(self._prepared(state.params))
            watched = jax.device_get(self._programs("the look at the flows", self._watched, flows))
        if watched:
            reporter.watch(step, watched)

    def _measure(self, step: int, state: TrainState, reporter: Reporter) -> None:
        """Measures `eval.metrics` except the bound, with the EMA parameters."""
        alone = jax.process_count() == 1  # with several processes, all must finish it
        with self._clock.section("evaluating"):
            found = self._measuring(self._unpack(state.ema), lambda *_: self._termination.check() if alone else None)
        reporter.measured(step, measuring.scalars(found.values))
        reporter.images(step, found.sheets)
        for line in found.lines:
            say(f"step {step}  {line}")

    def _evaluate(self, step: int, state: TrainState, reporter: Reporter) -> None:
        """Measures the bound, with the EMA parameters."""
        batches = pipeline.eval_batches(
            self._config,
            **distributed.share(),
            batch_unit=self._model.batch_unit,
            source=self._source,
            while_waiting=self._termination.check,
        )
        with self._clock.section("evaluating"), closing(batches):
            bound = self.bound.bound(self._prepared(state.ema), self._termination.interrupts(batches))
        reporter.evaluation(step, bound.as_dict())
        say(f"step {step}  {bound}")
