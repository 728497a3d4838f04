"""The training run: initialise or take up where it stopped, train, evaluate, save (Section 6)."""

import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import jax
from ml_collections import ConfigDict

from hcflow_jax import data
from hcflow_jax.checkpoint import Checkpoints
from hcflow_jax.data import pipeline
from hcflow_jax.models import factory
from hcflow_jax.training import distributed, initialise, position, samples, sharding, state, workdir
from hcflow_jax.training.held_out import HeldOut
from hcflow_jax.training.metrics import Clock, Reporter, say
from hcflow_jax.training.optimizer import count_by_group
from hcflow_jax.training.programs import Programs
from hcflow_jax.training.schedule import schedule
from hcflow_jax.training.step import make_train_step
from hcflow_jax.training.termination import TERMINATED, Interrupted, Termination

RESULT = "result.json"


class _Run:
    """One process's share of a run."""

    def __init__(self, config: ConfigDict, directory: Path):
        self.config, self.directory = config, directory
        self.clock = Clock()
        self.programs = Programs(self.clock)
        self.model: Any = factory.build(config)
        self.mesh = sharding.make_mesh(config)
        self.images, self.held_out = data.open_source(config, "train"), data.open_source(config, "eval")
        self.schedule = schedule(config, len(self.images))
        self.steps = {
            frozen: make_train_step(self.model, config, self.schedule, self.mesh, frozen=frozen)
            for frozen in (False, True)
        }
        self.bound = HeldOut(self.model, config, self.programs, self.mesh)
        self.sampler = samples.Sampler(self.model, config, self.programs, self.mesh)
        self.checkpoints = Checkpoints(directory, config.train.keep_checkpoints)
        self.termination = Termination(distributed.Votes(self.mesh) if jax.process_count() > 1 else None)
        self.state, self.start, self.used = self._take_up()
        self.done = self.start
        self.reporter = Reporter(
            directory,
            self.start,
            num_steps=config.train.num_steps,
            batch_size=config.train.batch_size,
            clock=self.clock,
        )

    def _take_up(self) -> tuple[state.TrainState, int, int]:
        """The newest checkpoint, else a fresh start: state, step, and the images of the order used by then."""
        with self.clock.section("initialising"):
            if self.checkpoints.steps():
                shapes = jax.eval_shape(partial(state.create, config=self.config), self.model.shapes())
                everywhere = sharding.replicated(self.mesh)
                template = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=everywhere), shapes)
                found = self.checkpoints.restore_latest(template)
                if found is not None:
                    say(f"resuming at step {found.step}")
                    for change in workdir.changes(found.config, self.config):
                        say(f"  a field changed since it was saved: {change}")
                    if other := position.check(found.metadata.get("data"), self.images, self.config.data):
                        say(f"  {other}")
                    return found.arrays, found.step, found.metadata["next_index"]
            images = pipeline.init_images(self.config, self.images)
            # Placed like a restored state, so that a resumed run finds the programs of this one in the cache.
            fresh = initialise.initialise(self.model, self.config, images, self.programs, self.mesh)
            jax.block_until_ready(fresh)
        seconds = self.clock.seconds("initialising")
        say(f"initialised on {self.config.train.init_images} images in {seconds:.0f} s")
        return fresh, 0, 0

    def next_index(self, step: int) -> int:
        """The first place of the data order that `step` steps have not used; batches may have had another size."""
        return self.used + (step - self.start) * self.config.train.batch_size

    def describe(self) -> None:
        """Says what is about to be trained."""
        counts = count_by_group(self.state.params)
        by_group = ", ".join(f"{group} {count:,}" for group, count in counts.items())
        say(f"{sum(counts.values()):,} parameters: {by_group}")
        device = jax.devices()[0]
        say(f"{len(self.images):,} training images, {len(self.held_out):,} held out; on {device.device_kind}")

    def evaluate(self, step: int) -> None:
        """The bound with the EMA's parameters."""
        check = self.termination.check
        batches = pipeline.eval_batches(self.config, **distributed.share(), source=self.held_out, while_waiting=check)
        with self.clock.section("evaluating"), closing(batches):
            bound = self.bound.bound(self.bound.prepare(self.state.ema), self.termination.interrupts(batches))
        self.reporter.evaluation(step, bound.as_dict())
        say(f"step {step}  {bound}")

    def occasionally(self, step: int) -> None:
        """Evaluates and samples if it is time, and if a process that was killed has not done so already.

        SIGTERM cuts it short: whoever resumes finds it still to be done.
        """
        train = self.config.train
        last = step == train.num_steps

        def due(every: int) -> bool:
            return last or (every > 0 and step % every == 0)

        if (step == 0 or due(train.eval_every)) and distributed.from_first(not self._evaluated(step)):
            with suppress(Interrupted):
                self.evaluate(step)
        path = samples.sheet_path(self.directory, step)
        wanted = step > 0 and due(train.sample_every) and distributed.from_first(not path.exists())
        if wanted and not self.termination.requested:
            with self.clock.section("sampling"):
                sheet = self.sampler.sheet(self.bound.prepare(self.state.ema), path)
            self.reporter.images(step, {"samples": sheet})

    def _evaluated(self, step: int) -> dict[str, Any] | None:
        rows = [row for row in self.reporter.history.rows if row["kind"] == "eval" and row["step"] == step]
        return rows[-1] if rows else None

    def save(self, step: int) -> None:
        """Saves the state."""
        with self.clock.section("saving"):
            where = {"next_index": self.next_index(step), "data": position.describe(self.images)}
            self.checkpoints.save(step, self.state, self.config, where)

    def train(self) -> None:
        """Steps from where the run stands to its end. What is done is saved if images fail."""
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
        except data.DataError:
            # Saving takes all processes, and the others wait for this one's share of a step.
            if self.done > self.start and jax.process_count() == 1:
                self.save(self.done)
                self.close()
                say(f"saved step {self.done}; the same command resumes there")
            raise

    def _steps(self, batches: Iterator[Any]) -> None:
        """Metrics are read once the step after them was dispatched, so that the device never waits for the host."""
        train = self.config.train
        pending: tuple[int, Any] | None = None
        for step in range(self.start, train.num_steps):
            frozen = self.config.execution.freeze_program and self.schedule.frozen(step)
            name = "the training step" + (" with the encoder frozen" if frozen else "")
            try:
                with self.clock.section("waiting"):
                    images = next(batches)
            except Interrupted:
                self._read(pending)
                self.stop(step)
            except data.DataError:
                self._read(pending)
                raise
            self.state, metrics = self.programs(name, self.steps[frozen], self.state, images)
            pending = self._read(pending)
            self.termination.vote()
            self.done = done = step + 1
            pending = done, metrics
            saves = done % train.checkpoint_every == 0 or done == train.num_steps or self.termination.requested
            stops = [train.eval_every, train.sample_every]
            if saves or any(every > 0 and done % every == 0 for every in stops):
                pending = self._read(pending)
            if saves:
                self.save(done)
            if not self.termination.requested:
                self.occasionally(done)
            if self.termination.requested:
                self.stop(done)

    def _read(self, pending: tuple[int, Any] | None) -> None:
        if pending is not None:
            step, metrics = pending
            jax.block_until_ready(metrics["loss"])
            if step % self.config.train.log_every == 0 or step == self.config.train.num_steps:
                self.reporter.train(step, metrics)

    def stop(self, step: int) -> NoReturn:
        """Saves and ends the process."""
        self.save(step)
        self.close()
        say(f"SIGTERM: saved step {step}; the same command resumes there")
        sys.exit(TERMINATED)

    def close(self) -> None:
        """Waits for everything to be on disk."""
        with self.clock.section("saving"):
            self.checkpoints.close()
        self.reporter.close()

    def result(self) -> dict[str, Any]:
        """What `result.json` holds; seconds and rates are of this process."""
        train = self.config.train
        kinds = ("compiling", "initialising", "training", "waiting", "evaluating", "sampling", "saving")
        seconds = {kind: round(self.clock.seconds(kind), 3) for kind in kinds}
        steps, spent = train.num_steps - self.start, seconds["training"] + seconds["waiting"]
        rate = steps / spent if spent > 0 else 0.0
        return {
            "steps": train.num_steps,
            "images": self.next_index(train.num_steps),
            "resumed_from": self.start or None,
            "parameters": count_by_group(self.state.params),
            "start": _bound_of(self._evaluated(0)),
            "end": _bound_of(self._evaluated(train.num_steps)),
            "seconds": {**seconds, "total": round(sum(seconds.values()), 3)},
            "steps_per_second": rate,
            "images_per_second": rate * train.batch_size,
            "device": jax.devices()[0].device_kind,
        }


def _bound_of(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """A history row of kind "eval" as `Bound.as_dict` had it."""
    if row is None:
        return None
    names = ("bits_per_dim", "standard_error", "loss", "images")
    by_level = {name.removeprefix("bits/"): bits for name, bits in row.items() if name.startswith("bits/")}
    return {name: row[name] for name in names} | {"by_level": by_level}


def train(config: ConfigDict, path: str | Path) -> dict[str, Any]:
    """Trains a config in a directory; the same call takes up where an earlier one stopped.

    SIGTERM ends it after the step at hand, saved, with exit status 143.

    Args:
      config: the whole config.
      path: the workdir: `checkpoints/`, `samples/`, `tensorboard/`, `history.jsonl`, `result.json`.

    Returns:
      What `result.json` holds.

    Raises:
      ConfigError: the config cannot make a run, or the workdir cannot be written.
      CheckpointError: the workdir's checkpoints cannot be read, or are of another model.
      DataError: the images are not there, cannot be read (what was trained is saved first), or are others than those
        the checkpoint was trained on.
    """
    run = _Run(config, workdir.open_workdir(path))
    run.describe()
    with run.termination.noticed(), run.clock.section("training"):
        run.train()
    result = run.result()
    run.close()
    workdir.write_json(run.directory / RESULT, result)
    say(f"done: {run.directory / RESULT}")
    return result
