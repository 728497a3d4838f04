"""Statistics over a set of images: means with standard errors, and rows for CSV files."""

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hcflow_jax import files, paths
from hcflow_jax.errors import InputError

Tell = Callable[[str, int, int], object]  # what is being done, how many are done, how many there are


@dataclasses.dataclass(frozen=True)
class Mean:
    """A number that is estimated from n images.

    Attributes:
      value: the estimate.
      standard_error: the standard error over images; None for a single image.
    """

    value: float
    standard_error: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Plain values for JSON. Numbers that are not finite become None."""
        return {name: finite(value) for name, value in dataclasses.asdict(self).items()}

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" +- {self.standard_error:.2g}"
        return f"{self.value:.4g}{error}"


def finite(value: float | None) -> float | None:
    """The number, or None if it is not finite, because JSON has no value for NaN and infinity."""
    return None if value is None or not math.isfinite(value) else float(value)


def mean(values: Float[np.ndarray, " n"]) -> Mean:
    """The mean over images. Its standard error is the standard deviation (n - 1) divided by the square root of n.

    >>> mean(np.array([1.0, 3.0]))
    Mean(value=2.0, standard_error=1.0)
    """
    values = np.asarray(values, np.float64)
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return Mean(float(values.mean()), error)


def left_out(values: Float[np.ndarray, "n *k"]) -> Float[np.ndarray, "n *k"]:
    """Leave-one-out means: entry i is the mean over all images except image i. n is at least 2."""
    values = np.asarray(values, np.float64)
    return (values.sum(0) - values) / (len(values) - 1)


def jackknife(value: float, without: Float[np.ndarray, " n"]) -> Mean:
    """A statistic with the jackknife's standard error: sqrt((n - 1) / n sum_i (s_i - mean of s)^2).

    Args:
      value: the statistic of all images.
      without: s_i, the statistic of all images except the i-th. With fewer than 2 there is no standard error.
    """
    n = len(without)
    if n < 2:
        return Mean(value)
    with np.errstate(invalid="ignore"):  # a statistic may be infinite; then the error is NaN
        spread = ((without - without.mean()) ** 2).sum()
    return Mean(value, float(np.sqrt((n - 1) / n * spread)))


def save_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows to a CSV file with a header.

    Args:
      path: the path of the file. It is replaced in one step, so no incomplete file is left.
      rows: {column: value}. The first row gives the order of the columns.

    Raises:
      InputError: there are no rows, or they have different columns.
      OSError: the file cannot be written.
    """
    if not rows:
        raise InputError(f"{path}: there are no rows to write")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    try:
        writer.writerows(rows)
    except ValueError as error:
        raise InputError(f"{path}: rows have different columns: {error}") from error
    files.write(paths.local(path), lambda file: file.write(text.getvalue().encode()))
