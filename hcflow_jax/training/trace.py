"""A profiler trace of some steps of a run, for XProf or Perfetto."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from hcflow_jax import paths
from hcflow_jax.config import ConfigError
from hcflow_jax.layout import PROFILE
from hcflow_jax.training.metrics import say


def parse_steps(text: str | None) -> tuple[int, int] | None:
    """Reads the first and the last step from "FIRST:LAST", counted from 1 as in the history. None for None.

    Raises:
      ConfigError: the text does not have this form.
    """
    if text is None:
        return None
    form = re.fullmatch(r"(\d+):(\d+)", text)
    first, last = (int(number) for number in form.groups()) if form else (0, 0)
    if not 1 <= first <= last:
        raise ConfigError(f"--profile={text}: expected FIRST:LAST, steps from 1 on, such as 101:103")
    return first, last


class Trace:
    """Traces the steps from the first to the last of a range."""

    def __init__(self, steps: tuple[int, int] | None, workdir: Path, *, start: int, num_steps: int):
        """Args:
        steps: the first and the last step; None to trace nothing.
        workdir: the folder in which `profile/` is made.
        start: the number of finished steps.
        num_steps: the number of steps of the whole run.

        Raises:
          ConfigError: the run ends before the last step, or the first step is already finished.
        """
        self._steps, self._directory, self._running = steps, workdir / PROFILE, False
        if steps is None:
            return
        given = f"--profile={steps[0]}:{steps[1]}"
        if steps[1] > num_steps:
            raise ConfigError(f"{given}: the run ends at step {num_steps}, train.num_steps")
        if steps[0] <= start:
            raise ConfigError(f"{given}: the run continues from step {start}; name steps after it")

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """A context for the dispatch of a step. `number` is the number of the step, from 1."""
        if self._steps is None or not self._steps[0] <= number <= self._steps[1]:
            yield
            return
        if number == self._steps[0]:
            jax.profiler.start_trace(str(paths.plain(self._directory.parent) / PROFILE))
            self._running = True
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield

    def after(self, number: int, metrics: Any) -> None:
        """Ends the trace after its last step, when the metrics of that step are computed."""
        if self._running and self._steps is not None and number == self._steps[1]:
            jax.block_until_ready(metrics)
            self.stop()

    def stop(self) -> None:
        """Writes the trace if it is running, also if the run ends before the trace's last step."""
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
            say(f"profile: {paths.own_names(str(self._directory))}")
