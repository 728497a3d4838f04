"""A model's parameters and programs on its devices; what `Model` is built on."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hcflow_jax import batches, devices
from hcflow_jax.api.arguments import known_dtype
from hcflow_jax.api.latents import Latents
from hcflow_jax.api.programs import Programs
from hcflow_jax.models import ImageModel

_PIXELS = 2**20  # of the images of a device's largest batch, on a CPU as on an accelerator
_LARGEST, _LEAST = 64, 4


def largest_batch(resolution: int) -> int:
    """Largest batch of one device, in images; more images are split over several calls."""
    return max(_LEAST, min(_LARGEST, _PIXELS // resolution**2))


class Engine:
    """Programs of a model, run on batches over its devices.

    Attributes:
      config: the config it was trained with, locked.
      image_model: the model itself, an `ImageModel`, in float32.
      params: its parameters as they were trained, raw.
      dtype: of the networks' arithmetic in sampling and interpolating, "float32" or "bfloat16". Encoding is always in
        float32, and so is decoding unless it is said otherwise: another arithmetic does not undo it.
      mesh: the devices that share every batch.
      resolution: R, pixels.
      level_names: the levels of latents, coarse to fine.
      latent_shapes: the shape of each level's latents, without the batch.
      batch_size: images that are computed at once, at most.
      statistics: what single images take in place of their batch's own in the likelihood; {} if there are none. See
        `Model.bits_per_dim`.
    """

    def __init__(
        self,
        config: ConfigDict,
        params: Any,
        dtype: str = "float32",
        mesh: Mesh | None = None,
        statistics: Mapping[str, float] | None = None,
    ):
        """Compiles nothing yet.

        Args:
          config: the whole config.
          params: as trained (the EMA's); on a device or not.
          dtype: "float32" or "bfloat16".
          mesh: from `devices.in_a_row`; None: this process's devices, all of them.
          statistics: by name, as `Model.measure_statistics` gives them.

        Raises:
          InputError: for another dtype.
          ConfigError: the config makes no model.
          EnvironmentSettingError: JAX cannot start as the environment says.
        """
        devices.start()
        self._placed = mesh is not None or jax.local_device_count() > 1
        self.mesh = devices.in_a_row(jax.local_devices()) if mesh is None else mesh
        self.config, self.dtype, self.params = config, known_dtype(dtype), params
        self.statistics = dict(statistics or {})
        self._programs: dict[str, Programs] = {}
        self.image_model: ImageModel = self._use("float32").model
        self.resolution: int = self.image_model.image_shape[0]
        self.level_names: tuple[str, ...] = self.image_model.level_names
        self.latent_shapes: dict[str, tuple[int, ...]] = self.image_model.latent_shapes
        self.batch_size = largest_batch(self.resolution) * self.mesh.size

    @cached_property
    def prepared(self) -> Any:
        """The parameters with what depends on them alone computed (`ImageModel.prepare`), on the devices."""
        if not self._placed:
            return self._use("float32").prepare(self.params)
        everywhere = devices.replicated(self.mesh)
        return devices.place(everywhere, self._use("float32").prepare(devices.place(everywhere, self.params)))

    def _use(self, dtype: str) -> Programs:
        if dtype not in self._programs:
            self._programs[dtype] = Programs(self.config, known_dtype(dtype), self.mesh.size > 1)
        return self._programs[dtype]

    def _place(self, batch: Any) -> Any:
        return devices.place(devices.split(self.mesh), batch) if self._placed else batch

    def _stream(self, program: Any, trees: Iterable[Any], *more: Any, unit: int = 1) -> Iterator[Any]:
        """A program's results on trees of arrays (n, ...), a piece after the other.

        Args:
          program: of (params, batch, *more).
          trees: any number of them, of any n.
          *more: what is the same for all batches.
          unit: batches are multiples of so many on each device.
        """
        multiple = unit * self.mesh.size
        largest = max(multiple, self.batch_size // multiple * multiple)
        call = lambda batch: program(self.prepared, batch, *more)  # noqa: E731
        return batches.stream(call, trees, largest, multiple, self._place)

    def _latents(self, z: Mapping[str, Any]) -> Latents:
        # jit sorts a dict's keys
        return Latents({name: z[name] for name in self.level_names})
