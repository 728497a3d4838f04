"""`Coarse`: images of which the coarser levels are decoded."""

import dataclasses
from typing import Any

import jax
import numpy as np

from hcflow_jax.api.arguments import whole


@dataclasses.dataclass(frozen=True)
class Coarse:
    """The coarser levels of some images, decoded by `Model.decode_coarse`; `len` counts images.

    Attributes:
      level: the first level that is not decoded yet.
      dtype: the dtype of the networks' arithmetic.
      state: what the finer levels need from the coarser ones; arrays (n, ...).
      count: n, the number of images.
    """

    level: str
    dtype: str
    state: Any
    count: int

    def __len__(self) -> int:
        return self.count

    def repeat(self, times: int) -> "Coarse":
        """Repeats each image `times` times, one after another.

        Raises:
          InputError: `times` is not a whole number, or is below 1.
        """
        times = whole("times", times, 1)
        state = jax.tree.map(lambda a: np.repeat(a, times, 0), self.state)
        return dataclasses.replace(self, state=state, count=times * self.count)
