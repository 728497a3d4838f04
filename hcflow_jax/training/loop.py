"""The training run: initialise or resume, train, evaluate, save (docs/training.md)."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import jax
from ml_collections import ConfigDict

from hcflow_jax import data, devices, models, settings
from hcflow_jax.checkpoint import CheckpointError, Checkpoints
from hcflow_jax.config import config_to_plain
from hcflow_jax.data import pipeline
from hcflow_jax.errors import HcflowError
from hcflow_jax.layout import CONFIG, RESULT
from hcflow_jax.training import distributed, initialise, result, resumption, sharding, state, workdir
from hcflow_jax.training.groups import Packed, count_by_group
from hcflow_jax.training.lease import LeaseError
from hcflow_jax.training.looks import Looks
from hcflow_jax.training.metrics import Clock, Reporter, complain, say
from hcflow_jax.training.optimizer import Optimizer
from hcflow_jax.training.programs import Programs
from hcflow_jax.training.schedule import schedule
from hcflow_jax.training.skipped import NotFiniteError, Skipped
from hcflow_jax.training.step import make_train_step, numbers_of
from hcflow_jax.training.stored import Storage
from hcflow_jax.training.termination import Interrupted, Termination
from hcflow_jax.training.trace import Trace
from hcflow_jax.training.workdir import Workdir


class _Run:
    """A run, in one of its processes."""

    def __init__(
        self,
        config: ConfigDict,
        place: Workdir,
        termination: Termination,
        profile: tuple[int, int] | None = None,
        allow_config_change: bool = False,
    ):
        self.config, self.workdir, self.termination = config, place, termination
        self.signals = ExitStack()  # while signals are noted, it holds `termination.noticed`
        directory = place.folder
        self.clock = Clock()
        self.programs = Programs(self.clock)
        self.model = models.build(config)
        self.mesh = sharding.make_mesh(config, self.model.batch_unit)
        self.optimizer = Optimizer.of(self.model, config)
        self.storage = Storage(self.optimizer, self.model.rate_groups, sharding.replicated(self.mesh))
        self.images, self.held_out = data.open_source(config, "train"), data.open_source(config, "eval")
        distributed.check_same(config, self.images, self.held_out)
        compiling = self.model, self.mesh, self.programs, self.clock
        self.looks = Looks(config, directory, *compiling, termination, self.held_out, self._unpacked)
        self.checkpoints = Checkpoints(place.where, config.train.keep_checkpoints, config.train.keep_every, complain)
        if jax.process_count() > 1:
            termination.votes = distributed.Votes(self.mesh)
        self.state, self.start, self.used = self._take_up(allow_config_change)
        self.schedule = schedule(config, len(self.images), self.next_index(0), self.model.frozen_group)
        self.numbers = numbers_of(config, self.schedule, self.mesh)
        self.steps = {
            frozen: make_train_step(self.model, self.optimizer, config, self.schedule, self.mesh, frozen=frozen)
            for frozen in (False, True)
        }
        self.looks.statistics(self.state.ema)  # reads the images that every save needs, before any long work
        self.images_about = resumption.describe_images(self.images)  # so does this
        self.done = self.start
        self.trace = Trace(profile, directory, start=self.start, num_steps=config.train.num_steps)
        lengths = {"num_steps": config.train.num_steps, "batch_size": config.train.batch_size}
        self.reporter = Reporter(directory, self.start, **lengths, clock=self.clock)
        self.skipped = Skipped(directory, self.start, config, self.images, self.next_index)

    def _take_up(self, allow_config_change: bool) -> tuple[state.TrainState, int, int]:
        """State, step and number of used images, from the newest checkpoint, from `train.init_from`, or fresh."""
        with self.clock.section("initialising"):
            found = resumption.resume(self.checkpoints, self.storage, self.config, self.images, allow_config_change)
            if found is not None:
                resumption.check_length(self.config, found[1], self.workdir.where)
                return found
            if self.config.train.init_from:
                return initialise.from_checkpoint(self.optimizer, self.config, self.mesh), 0, 0
            images = pipeline.init_images(self.config, self.images)
            fresh = initialise.initialise(self.model, self.optimizer, self.config, images, self.programs, self.mesh)
            jax.block_until_ready(fresh)
        seconds = self.clock.seconds("initialising")
        say(f"initialised on {self.config.train.init_images} images in {seconds:.0f} s")
        return fresh, 0, 0

    def _unpacked(self, packed: Packed) -> Any:
        """The tree of packed parameters, on every device. The host cuts it, so no program is compiled."""
        return sharding.place(sharding.replicated(self.mesh), self.optimizer.packing.unpack(sharding.fetch(packed)))

    def next_index(self, step: int) -> int:
        """The number of images of the data order that `step` steps use. Earlier steps may have other batch sizes."""
        return self.used + (step - self.start) * self.config.train.batch_size

    def describe(self) -> None:
        """Prints the number of parameters and of images, and writes the config and a table of the parameters."""
        counts = count_by_group(self.optimizer.shapes, self.model.rate_groups)
        by_group = ", ".join(f"{group} {count:,}" for group, count in counts.items())
        say(f"{sum(counts.values()):,} parameters: {by_group}")
        workdir.write_parameters(self.workdir.folder, self.optimizer.shapes)
        workdir.write_json(self.workdir.folder / CONFIG, config_to_plain(self.config))
        device = jax.devices()[0]
        say(f"{len(self.images):,} training images, {len(self.held_out):,} held out; on {device.device_kind}")

    def occasionally(self, step: int) -> None:
        """Does the work at intervals, see `Looks`."""
        self.looks(step, self.state, self.reporter)

    def save(self, step: int) -> None:
        """Saves the state."""
        with self.clock.section("saving"):
            self.workdir.before_save()
            about = {
                "next_index": self.next_index(step),
                "data": self.images_about,
                "statistics": self.looks.statistics(self.state.ema),
            }
            self.checkpoints.save(step, self.storage.stored(self.state), self.config, about)

    def train(self) -> None:
        """Trains to the end of the run. If images cannot be read or a look fails, it saves the finished steps."""
        try:
            self.occasionally(self.start)
            if self.termination.requested:
                self.stop(self.start)
            batches = pipeline.train_batches(
                self.config,
                self.next_index(self.start),
                **distributed.share(),
                source=self.images,
                place=lambda batch: jax.block_until_ready(sharding.spread(self.mesh, batch["images"])),
                while_waiting=self.termination.check,
            )
            with closing(batches):
                self._steps(batches)
        except (LeaseError, CheckpointError):  # nothing can be saved
            raise
        except NotFiniteError:
            self.close()
            raise
        except (HcflowError, OSError) as error:
            alone = jax.process_count() == 1
            if isinstance(error, data.DataError) and not alone:
                # Saving needs all processes, and the others wait for this one in the next step.
                share = "this process's share of the run; the other processes end, too"
                raise distributed.AloneError(f"{error} ({share})") from error
            if alone and self.done > self.start:
                self.save(self.done)
                self.close()
                say(f"saved step {self.done}; the same command resumes there")
            raise

    def _steps(self, batches: Iterator[Any]) -> None:
        """Runs the steps. Metrics of a step are read after the next step is dispatched, so the device never waits."""
        train = self.config.train
        pending: tuple[int, Any] | None = None
        compiled: set[str] = set()
        for step in range(self.start, train.num_steps):
            frozen = self.config.execution.freeze_program and self.schedule.frozen(step)
            name = "the training step" + (f" with the {self.model.frozen_group} frozen" if frozen else "")
            try:
                with self.clock.section("waiting"):
                    images = next(batches)
            except Interrupted:
                self._read(pending)
                self.stop(step)
            except data.DataError:
                self._read(pending)
                raise
            if name not in compiled:
                pending = self._read(pending)
            with nullcontext() if name in compiled else self._compiling(step), self.trace.step(step + 1):
                self.state, metrics = self.programs(name, self.steps[frozen], self.state, images, self.numbers)
            compiled.add(name)
            pending = self._read(pending)
            self.termination.vote()
            self.done = done = step + 1
            pending = done, metrics
            self.trace.after(done, metrics)
            saves = done % train.checkpoint_every == 0 or done == train.num_steps or self.termination.requested
            saves |= jax.process_count() > 1 and self.looks.measures(done)  # a signal cannot interrupt that
            if saves or self.looks.due(done):
                pending = self._read(pending)
            if saves:
                self.save(done)
            if not self.termination.requested:
                self.occasionally(done)
            if self.termination.requested:
                self.stop(done)

    @contextmanager
    def _compiling(self, step: int) -> Iterator[None]:
        """Saves the finished steps. Inside the block a signal ends a single process: compiling may take minutes."""
        if step > self.start:
            self.save(step)
            try:
                self.checkpoints.wait()
            except CheckpointError as error:
                complain(str(error))
        self.signals.close()
        if self.termination.requested:
            self.stop(step)
        yield
        self.signals.enter_context(self.termination.noticed())

    def _read(self, pending: tuple[int, Any] | None) -> None:
        if pending is not None:
            step, metrics = pending
            jax.block_until_ready(metrics["loss"])
            self.checkpoints.poll()
            self.workdir.check()
            self.skipped.look(step, metrics)
            if step % self.config.train.log_every == 0 or step == self.config.train.num_steps:
                self.reporter.train(step, metrics)

    def stop(self, step: int) -> NoReturn:
        """Saves the state and ends the process."""
        self.save(step)
        self.close()
        say(f"{self.termination.name}: saved step {step}; the same command resumes there")
        self.termination.end()

    def close(self) -> None:
        """Waits until everything is on disk."""
        self.trace.stop()
        with self.clock.section("saving"):
            self.checkpoints.close()
        self.reporter.close()


@settings.own()
def train(
    config: ConfigDict,
    path: str | Path,
    *,
    profile: tuple[int, int] | None = None,
    allow_config_change: bool = False,
) -> dict[str, Any]:
    """Trains a config in a directory. The same call continues a run that was stopped.

    On SIGINT, SIGTERM or SIGHUP it finishes and saves the current step, and raises `stopping.Stopped`: a SystemExit,
    and for SIGINT also a KeyboardInterrupt. Before the first step a single process ends at once; several processes
    first start, then save. If the directory has a checkpoint, the run resumes from it and ignores `train.init_from`.

    Args:
      config: the whole config.
      path: the workdir, a directory or gs://BUCKET/NAME. It gets `checkpoints/`, `samples/`, `tensorboard/`,
        `history.jsonl`, `result.json` and others.
      profile: the first and the last step of a trace, which is written to `profile/`.
      allow_config_change: whether to continue from a checkpoint of another config, see `resumption`.

    Returns:
      The contents of `result.json`.

    Raises:
      ConfigError: the config is wrong or differs from that of the checkpoint; the model differs from that of
        `train.init_from`; or the workdir cannot be written or is in use.
      LeaseError: another process trains in the workdir in its bucket, or has taken it over.
      StoreError: the store of the bucket refuses or does not answer.
      CheckpointError: the checkpoints cannot be read, belong to another model, or the last one cannot be saved.
      NotFiniteError: too many steps in a row were skipped.
      DataError: the images are missing, cannot be read (finished steps are saved first), or differ from those of the
        checkpoint.
      AloneError: there are several processes, and the images of this one cannot be read; nothing is saved.
      EnvironmentSettingError: JAX cannot start with these environment variables.
    """
    devices.start()
    where = workdir.place(path, config)
    termination = Termination()
    with workdir.opened(where) as place, termination.noticed() if jax.process_count() > 1 else nullcontext():
        run = _Run(config, place, termination, profile, allow_config_change)
        run.describe()
        with run.signals:  # until everything is on disk: after the last step, signals change nothing
            with run.clock.section("training"):
                run.train()
            made = result.describe(
                place.folder,
                config,
                run.reporter.history,
                run.clock,
                run.optimizer.shapes,
                run.model.rate_groups,
                start=run.start,
                images=run.next_index(config.train.num_steps),
            )
            run.close()
        workdir.write_json(place.folder / RESULT, made)
    say(f"done: {where / RESULT}")
    return made
