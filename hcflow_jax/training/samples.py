"""Sample sheets of a run. All are decoded from the same latents, so that they can be compared (Figure 4)."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from hcflow_jax import pictures
from hcflow_jax.data import preprocessing
from hcflow_jax.keys import root_key
from hcflow_jax.layout import SAMPLES
from hcflow_jax.models import ImageModel
from hcflow_jax.training import sharding
from hcflow_jax.training.programs import Programs


def sheet_path(workdir: Path, step: int) -> Path:
    """The path of the sheet of a step."""
    return workdir / SAMPLES / f"step_{step:06d}.png"


class Sampler:
    """Decodes fixed latents in chunks of `eval.batch_size` images, with one program."""

    def __init__(self, model: ImageModel, config: ConfigDict, programs: Programs, mesh: Mesh):
        """Does not draw anything yet.

        Args:
          model: the model.
          config: the whole config; `sample` has the number of samples, sigma and the seed.
          programs: compiles the programs.
          mesh: from `sharding.make_mesh`. Each device decodes a part of a chunk.
        """
        self._model, self._config, self._programs, self._mesh = model, config, programs, mesh
        self._decode = jax.jit(model.decode)
        self._to_uint8 = jax.jit(preprocessing.to_uint8)

    def decode(self, params: Any, z: dict[str, np.ndarray]) -> Float[np.ndarray, "N R R 3"]:
        """Decodes any number of latents to x, with prepared parameters."""
        chunk, count = self._config.eval.batch_size, len(next(iter(z.values())))
        x = []
        for start in range(0, count, chunk):
            # The last chunk is filled with the first latents, so that all chunks have the same size.
            rows = np.arange(start, start + chunk) % count
            part = sharding.place(sharding.split(self._mesh), {n: latents[rows] for n, latents in z.items()})
            x.append(sharding.fetch(self._programs("the sampler", self._decode, params, part)))
        return np.concatenate(x)[:count]

    def to_uint8(self, x: Float[np.ndarray, "N R R 3"]) -> UInt8[np.ndarray, "N R R 3"]:
        """Converts x to pixel values (docs/model.md, Eq. O)."""
        return np.asarray(self._to_uint8(x))

    def images(self, params: Any) -> UInt8[np.ndarray, "N R R 3"]:
        """The samples, from the fixed latents, with prepared parameters."""
        sample = self._config.sample
        z = jax.device_get(self._model.draw(root_key(sample.seed), sample.count, sample.sigma))
        return self.to_uint8(self.decode(params, z))

    def sheet(self, params: Any, path: Path) -> pictures.Sheet:
        """Writes a sheet. With several processes, all must call it, and only the first writes.

        Args:
          params: prepared parameters.
          path: the path of the file.

        Returns:
          The sheet, (H, W, 3) uint8.
        """
        images = self.images(params)
        sheet = pictures.grid(images, round(len(images) ** 0.5))
        if jax.process_index() == 0:
            path.parent.mkdir(exist_ok=True)
            pictures.save_png(path, sheet)
        return sheet
