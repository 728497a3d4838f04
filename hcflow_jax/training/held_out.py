"""The held-out bound over a mesh. Each process reads its share of the images; all get the bound of the whole set.

The module also measures the statistics that are stored with the weights, for the bits/dim of single images.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hcflow_jax import likelihood
from hcflow_jax.data import Source, pipeline
from hcflow_jax.evaluation import bits_per_dim
from hcflow_jax.models import ImageModel
from hcflow_jax.training import sharding
from hcflow_jax.training.programs import Programs

STATISTICS_IMAGES = 64  # the least number of held-out images for a checkpoint's statistics


class HeldOut:
    """Computes the bound on held-out images. The programs are compiled only once."""

    def __init__(self, model: ImageModel, config: ConfigDict, programs: Programs, mesh: Mesh):
        """Args:
        model: the model.
        config: the whole config.
        programs: compiles the programs.
        mesh: from `sharding.make_mesh`.
        """
        self._model, self._config, self._programs, self._mesh = model, config, programs, mesh
        self._units: Any = None
        everywhere = sharding.replicated(mesh)
        self._prepare = jax.jit(model.prepare, out_shardings=everywhere)
        self._batch_bound = bits_per_dim.make_batch_bound(model, config, everywhere)
        self._statistics = jax.jit(likelihood.make_unit_statistics(model, config), out_shardings=everywhere)
        self._whole = jax.jit(lambda valid: valid, out_shardings=everywhere)

    def prepare(self, params: Any) -> Any:
        """Prepares parameters (`ImageModel.prepare`), on every device."""
        return self._programs("the mixings' kernels", self._prepare, params)

    def bound(self, params: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> bits_per_dim.Bound:
        """The bound, in bits per dimension of the image.

        Args:
          params: prepared parameters.
          batches: the batches of this process, from `data.pipeline.eval_batches`.
        """
        return bits_per_dim.bound(
            self._model,
            params,
            self._placed(batches),
            self._config,
            lambda *args: self._programs("the bound", self._batch_bound, *args),
        )

    def statistics(self, params: Any, source: Source) -> dict[str, float]:
        """Measures the statistics that images of a batch unit share in the objective, averaged over held-out units.

        The bits/dim of a single image needs them (`ImageModel.batch_statistics`).

        Args:
          params: the EMA parameters.
          source: the held-out images. The first `STATISTICS_IMAGES` are used, the same in every process.

        Returns:
          {name: mean}; empty if the images of the model share nothing, or if there are fewer images than a unit.
        """
        unit = self._model.batch_unit
        units = min(STATISTICS_IMAGES, len(source)) // unit
        if unit == 1 or units == 0:
            return {}
        if self._units is None:  # images are read in the first call, before training, so that no save can fail later
            images = pipeline.images_at(self._config, source, np.arange(units * unit))
            indices = np.arange(units * unit, dtype=np.int32).reshape(units, unit)
            given = (images.reshape(units, unit, *images.shape[1:]), indices)
            self._units = sharding.place(sharding.replicated(self._mesh), given)
        found = self._programs("the statistics of batch units", self._statistics, params, *self._units, once=True)
        return {name: float(np.mean(np.asarray(values), dtype=np.float64)) for name, values in found.items()}

    def _placed(self, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[Mapping[str, Any]]:
        for batch in batches:
            # `fold_in` takes 32 bits
            placed = sharding.spread(self._mesh, {**batch, "indices": batch["indices"].astype(np.int32)})
            yield {**placed, "valid": self._whole(placed["valid"])}
