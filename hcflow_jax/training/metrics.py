"""The output of a run while it trains: `history.jsonl`, TensorBoard's files, and a line on stdout."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorboardX
from tensorboardX.record_writer import register_writer_factory

from hcflow_jax import streams
from hcflow_jax.files import replacing
from hcflow_jax.layout import HISTORY, TENSORBOARD
from hcflow_jax.training import watch
from hcflow_jax.training.growing import GrowingFile

WAITED_LONG = 0.05  # a larger fraction of the time spent waiting for images is reported on stdout
FLUSH_SECONDS = 10  # the time between two flushes of TensorBoard's files


def say(line: str) -> None:
    """Prints one line on stdout, at once. With several processes, only the first prints."""
    if jax.process_index() == 0:
        streams.say(line, sys.stdout)


def complain(line: str) -> None:
    """Prints one line on stderr, at once, about a problem that does not end the run."""
    streams.say(f"error: {line}", sys.stderr)


def duration(seconds: float) -> str:
    """Formats seconds with two units: 41s, 3m07s, 2h05m, 4d03h."""
    whole = round(seconds)
    for unit, low, size in (("d", "h", 86_400), ("h", "m", 3_600), ("m", "s", 60)):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size * {'h': 24, 'm': 60, 's': 60}[low] // size:02d}{low}"
    return f"{whole}s"


class Clock:
    """Measures the seconds spent on each kind of work. A section inside another does not count for the outer one."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Starts without a section.

        Args:
          now: returns the time in seconds.
        """
        self._now = now
        self._seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._mark = now()

    def _credit(self) -> None:
        now = self._now()
        if self._open:
            self._seconds[self._open[-1]] = self._seconds.get(self._open[-1], 0.0) + now - self._mark
        self._mark = now

    @contextlib.contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Counts the time inside as `name`."""
        self._credit()
        self._open.append(name)
        try:
            yield
        finally:
            self._credit()
            self._open.pop()

    def seconds(self, name: str) -> float:
        """The seconds spent in `name` until now."""
        self._credit()
        return self._seconds.get(name, 0.0)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Converts device scalars to numbers for JSON. Values that are not finite become None."""

    def number(value: Any) -> Any:
        if isinstance(value, (jax.Array, np.ndarray, np.generic)):
            value = np.asarray(value).item()
        return None if isinstance(value, float) and not math.isfinite(value) else value

    # A list keeps the order; jax would sort the names of a dict.
    fetched = jax.device_get(list(values.values()))
    return {name: number(value) for name, value in zip(values, fetched, strict=True)}


class History:
    """`history.jsonl`: the logged rows of a run, in order of step.

    The kinds of rows are "train" (the metrics of a step), "eval" (the bound), "measure" (other metrics) and "watch"
    (the scales of the flows). The `step` of a row is the number of finished steps, so an evaluation at step N follows
    the training row N.

    Attributes:
      rows: the rows, as dicts.
    """

    def __init__(self, workdir: Path, step: int, name: str = HISTORY):
        """Continues the file of a run that resumes at `step`. Later rows and incomplete rows are removed.

        With several processes, only the first writes. See `GrowingFile` for a full disk.

        Args:
          workdir: the folder of the file.
          step: the number of finished steps.
          name: the name of the file.
        """
        self._path = workdir / name
        self.rows: list[dict[str, Any]] = []
        for line in self._path.read_text().splitlines() if self._path.exists() else ():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if row["step"] <= step:
                    self.rows.append(row)
        self._writes = jax.process_index() == 0
        if self._writes:
            with replacing(self._path, durable=True) as partial:
                partial.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        self._file = GrowingFile(self._path)

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row."""
        self.rows.append(row)
        if self._writes:
            self._file.write(f"{json.dumps(row)}\n".encode())
            self._file.flush()

    def of(self, kind: str, step: int) -> list[dict[str, Any]]:
        """The rows of one kind and step."""
        return [row for row in self.rows if row["kind"] == kind and row["step"] == step]

    def close(self) -> None:
        """Tries once more to write rows that could not be written."""
        self._file.flush()


class _EventFiles:
    """Opens the files of tensorboardX. If it opens them, a full disk ends its thread, and adding an event hangs."""

    PREFIX = "growing:"  # of a folder whose files are opened here

    @classmethod
    def open(cls, path: str) -> GrowingFile:
        return GrowingFile(Path(path.removeprefix(cls.PREFIX)))

    @classmethod
    def directory_check(cls, path: str) -> None:
        Path(path.removeprefix(cls.PREFIX)).mkdir(parents=True, exist_ok=True)


register_writer_factory(_EventFiles.PREFIX.rstrip(":"), _EventFiles)


def _event_writer(workdir: Path, purge_step: int | None = None) -> tensorboardX.SummaryWriter:
    """A writer of TensorBoard's files. It has its own thread, so training does not wait. (clu's need TensorFlow.)

    Args:
      workdir: the workdir of the run. With several processes, only the first writes.
      purge_step: events of this step and of later ones, in earlier files, are hidden.
    """
    return tensorboardX.SummaryWriter(
        f"{_EventFiles.PREFIX}{workdir / TENSORBOARD}",
        purge_step=purge_step,
        flush_secs=FLUSH_SECONDS,
        write_to_disk=jax.process_index() == 0,
    )


def add_scalars(workdir: Path, step: int, values: Mapping[str, float | int]) -> None:
    """Adds numbers to the TensorBoard files of a run. With several processes, only the first writes."""
    writer = _event_writer(workdir)
    for name, value in values.items():
        writer.add_scalar(name, float(value), step)
    writer.close()


class Reporter:
    """Reports every logged step to the history, to TensorBoard and to stdout.

    Attributes:
      history: the history.
      start: the number of finished steps when this process started.
    """

    def __init__(self, workdir: Path, step: int, *, num_steps: int, batch_size: int, clock: Clock):
        """Args:
        workdir: the folder of the files.
        step: the number of finished steps when this process started; later rows are removed.
        num_steps: the number of steps of the whole run.
        batch_size: the number of images per step.
        clock: its sections "training" and, inside it, "waiting" (for images) give the images per second.
        """
        self.history, self.start = History(workdir, step), step
        self._writer = _event_writer(workdir, purge_step=step + 1)
        self._num_steps, self._batch_size, self._clock = num_steps, batch_size, clock
        self._seconds_before = self.history.rows[-1].get("seconds", 0.0) if self.history.rows else 0.0
        self._last = (step, *self._seconds())
        self._skipped = 0

    def _seconds(self) -> tuple[float, float]:
        """The seconds of training, and the part of them that was spent waiting for images."""
        waiting = self._clock.seconds("waiting")
        return self._clock.seconds("training") + waiting, waiting

    def _write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        seconds = round(self._seconds_before + self._seconds()[0], 3)
        self.history.write({"step": step, "kind": kind, **values, "seconds": seconds})
        for name, value in values.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"{kind}/{name}", float(value), step)

    def train(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Writes the metrics of one step. Waits until the device has computed them.

        It adds `images_per_second`, `images_per_second_per_device` and `input_wait`, the fraction of the time spent
        waiting for a batch, all since the last call. It also adds `peak_memory`, if the backend reports it: the
        largest peak among the devices of this process since its start, bytes.
        """
        values = plain(metrics)
        last_step, last_seconds, last_waiting = self._last
        self._last = (step, *self._seconds())
        elapsed = max(self._last[1] - last_seconds, 1e-9)
        rate, wait = (step - last_step) / elapsed, (self._last[2] - last_waiting) / elapsed
        images = rate * self._batch_size
        values |= {"images_per_second": images, "images_per_second_per_device": images / jax.device_count()}
        values["input_wait"] = round(wait, 4)
        if (peak := watch.peak_memory()) is not None:
            values["peak_memory"] = peak
        self._write("train", step, values)
        shown = {name: "none" if values[name] is None else f"{values[name]:.4f}" for name in ("loss", "bits_per_dim")}
        line = (
            f"step {step}/{self._num_steps}  loss {shown['loss']}  bits/dim {shown['bits_per_dim']}  "
            f"{images:.1f} images/s  ETA {duration((self._num_steps - step) / rate)}"
        )
        if wait > WAITED_LONG:
            line += f"  ({wait:.0%} of the time spent waiting for images)"
        if values["skipped"] > self._skipped:
            line += f"  ({values['skipped']} steps skipped so far: loss or gradient not finite)"
            self._skipped = values["skipped"]
        say(line)

    def evaluation(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes an evaluation, `Bound.as_dict`. The bits of levels are named bits/LEVEL, as in a training step."""
        by_level = {f"bits/{level}": bits for level, bits in values["by_level"].items()}
        self._write("eval", step, plain({k: v for k, v in values.items() if k != "by_level"} | by_level))

    def measured(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes the other metrics, `measuring.scalars`."""
        self._write("measure", step, plain(values))

    def watch(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes the scales of the flows, `evaluation.flow_scales`."""
        self._write("watch", step, plain(values))

    def images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Writes pictures, (H, W, 3) uint8, to TensorBoard."""
        for name, image in images.items():
            self._writer.add_images(name, np.asarray(image)[None], step, dataformats="NHWC")

    def close(self) -> None:
        """Writes everything to disk, and closes the files."""
        self.history.close()
        self._writer.flush()
        self._writer.close()
