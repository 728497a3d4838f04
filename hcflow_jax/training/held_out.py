"""The held-out bound over a mesh: each process reads its share of the images, and all have the whole figure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hcflow_jax.evaluation import bits_per_dim
from hcflow_jax.models import ImageModel
from hcflow_jax.training import sharding
from hcflow_jax.training.programs import Programs


class HeldOut:
    """The bound, compiled once for all evaluations."""

    def __init__(self, model: ImageModel, config: ConfigDict, programs: Programs, mesh: Mesh):
        """Args:
        model: the model.
        config: the whole config.
        programs: what compiles.
        mesh: from `sharding.make_mesh`.
        """
        self._model, self._config, self._programs, self._mesh = model, config, programs, mesh
        everywhere = sharding.replicated(mesh)
        self._prepare = jax.jit(model.prepare, out_shardings=everywhere)
        self._batch_bound = bits_per_dim.make_batch_bound(model, config, everywhere)
        self._whole = jax.jit(lambda valid: valid, out_shardings=everywhere)

    def prepare(self, params: Any) -> Any:
        """Prepared parameters, on every device."""
        return self._programs("the mixings' kernels", self._prepare, params)

    def bound(self, params: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> bits_per_dim.Bound:
        """The bound.

        Args:
          params: prepared.
          batches: this process's share, see `data.pipeline.eval_batches`.
        """
        return bits_per_dim.bound(
            self._model,
            params,
            self._placed(batches),
            self._config,
            lambda *args: self._programs("the bound", self._batch_bound, *args),
        )

    def _placed(self, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[Mapping[str, Any]]:
        for batch in batches:
            # fold_in takes 32 bits
            placed = sharding.spread(self._mesh, {**batch, "indices": batch["indices"].astype(np.int32)})
            yield {**placed, "valid": self._whole(placed["valid"])}
