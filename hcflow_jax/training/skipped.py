"""Steps whose update was skipped: which images they had, and when there are too many in a row to go on."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from hcflow_jax.data import Source, pipeline
from hcflow_jax.errors import HcflowError
from hcflow_jax.training.metrics import History

SKIPPED = "skipped.jsonl"

_LEVEL = "bits/"  # how the metrics of a level's loss are called


class NotFiniteError(HcflowError):
    """Losses or gradients that do not become finite again; one line that says where that began."""


class Skipped:
    """`skipped.jsonl`: a row per skipped step, with the places of its images in the training set.

    A row is {"step": steps done, that one included, "indices": [...], "not_finite": [names of metrics]}. How many
    there were in a row is taken up by a run that resumes.
    """

    def __init__(
        self, workdir: Path, step: int, config: ConfigDict, source: Source, next_index: Callable[[int], int]
    ) -> None:
        """Takes up the file of a run restored at `step`.

        Args:
          workdir: where it lies.
          step: steps done; rows after it are dropped.
          config: `seed`, `train.batch_size` and `train.max_skipped` are read.
          source: the training images.
          next_index: steps done -> images of the training order used by then.
        """
        self._path = workdir / SKIPPED
        self._history = History(workdir, step, SKIPPED)
        self._train = config.train
        self._order, self._next_index = pipeline.training_order(source, config.seed), next_index
        self._row: list[dict[str, Any]] = []  # of steps without a gap up to the last one looked at
        for row in reversed(self._history.rows):
            if row["step"] == step - len(self._row):
                self._row.insert(0, row)

    def look(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Writes a step down if it was skipped.

        Args:
          step: its number, from 1 on.
          metrics: what the training step gave; computed already, or this waits.

        Raises:
          NotFiniteError: it is one too many.
        """
        if all(math.isfinite(value) for value in jax.device_get((metrics["loss"], metrics["grad_norm"]))):
            self._row.clear()
            return
        values = jax.device_get(dict(metrics))
        bad = [name for name in metrics if not math.isfinite(values[name])]
        indices = self._order(self._next_index(step - 1), self._train.batch_size)
        row = {"step": step, "indices": indices.tolist(), "not_finite": bad}
        self._history.write(row)
        self._row.append(row)
        if 0 < self._train.max_skipped <= len(self._row):
            raise NotFiniteError(
                f"{len(self._row)} steps in a row were skipped, the last of them step {step}: {self._where()}; "
                f"{self._path} names their images. Nothing was saved since; train.max_skipped=0 goes on regardless"
            )

    def _where(self) -> str:
        for row in self._row:
            levels = [name.removeprefix(_LEVEL) for name in row["not_finite"] if name.startswith(_LEVEL)]
            if levels:
                named = f"level {levels[0]}" if len(levels) == 1 else f"levels {', '.join(levels)} (at once)"
                return f"the loss of {named} went bad first, in step {row['step']}"
        return f"every level's loss is finite but the gradient is not, from step {self._row[0]['step']} on"
