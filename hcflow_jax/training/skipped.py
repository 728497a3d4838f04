"""Records steps whose update was skipped, with their images; ends the run after too many in a row."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from hcflow_jax import paths
from hcflow_jax.data import Source, pipeline
from hcflow_jax.errors import HcflowError
from hcflow_jax.layout import SKIPPED
from hcflow_jax.training.metrics import History

_LEVEL = "bits/"  # the prefix of the metrics that are bits of a level


class NotFiniteError(HcflowError):
    """Losses or gradients were infinite or NaN in too many steps. The message is one line that says where first."""


class Skipped:
    """`skipped.jsonl`: one row for each skipped step, with the indices of its images in the training set.

    A row is {"step": number of the step, from 1, "indices": [...], "not_finite": [names of metrics]}. A run that
    resumes continues the count of consecutive skipped steps.
    """

    def __init__(
        self, workdir: Path, step: int, config: ConfigDict, source: Source, next_index: Callable[[int], int]
    ) -> None:
        """Continues the file of a run that resumes at `step`.

        Args:
          workdir: the folder of the file.
          step: the number of finished steps; later rows are removed.
          config: the whole config; `seed`, `train.batch_size` and `train.max_skipped` are used.
          source: the training images.
          next_index: number of finished steps -> number of images of the data order that they used.
        """
        self._path = workdir / SKIPPED
        self._history = History(workdir, step, SKIPPED)
        self._train = config.train
        self._order, self._next_index = pipeline.training_order(source, config.seed), next_index
        self._row: list[dict[str, Any]] = []  # the consecutive skipped steps up to the last step
        for row in reversed(self._history.rows):
            if row["step"] == step - len(self._row):
                self._row.insert(0, row)

    def look(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Records a step if it was skipped.

        Args:
          step: the number of the step, from 1.
          metrics: the metrics of the step. The call waits until they are computed.

        Raises:
          NotFiniteError: too many steps in a row were skipped.
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
                f"{paths.own_names(str(self._path))} names their images. Nothing was saved since; "
                "train.max_skipped=0 would continue anyway"
            )

    def _where(self) -> str:
        for row in self._row:
            levels = [name.removeprefix(_LEVEL) for name in row["not_finite"] if name.startswith(_LEVEL)]
            if levels:
                named = f"level {levels[0]}" if len(levels) == 1 else f"levels {', '.join(levels)} (at once)"
                return f"the loss of {named} went bad first, in step {row['step']}"
        return f"every level's loss is finite but the gradient is not, from step {self._row[0]['step']} on"
