"""The parameters and compiled programs of a model on its devices; the base of `Model`."""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Self, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hcflow_jax import batches, devices
from hcflow_jax.api.arguments import Sigma, known_dtype
from hcflow_jax.api.latents import Latents
from hcflow_jax.api.programs import Programs
from hcflow_jax.config import config_to_plain
from hcflow_jax.errors import InputError
from hcflow_jax.models import ImageModel

_PIXELS = 2**20  # limit for the images of the largest batch of a device
_LARGEST, _LEAST = 64, 4


_started: int | None = None  # the process in which the first model was made; JAX has had threads in it since then


def check_process() -> None:
    """Refuses to compute in a forked copy of a process that has used JAX, because JAX would hang without its threads.

    Raises:
      InputError: this process is such a copy.
    """
    global _started
    if _started not in (None, os.getpid()):
        raise InputError(
            f"this process was forked from process {_started}, in which a model was in use, and JAX cannot continue "
            "in it: start processes with multiprocessing's 'spawn', and load the model there or send it to them"
        )
    _started = os.getpid()


def largest_batch(resolution: int) -> int:
    """The largest batch of one device, in images; more images are split over several calls."""
    return max(_LEAST, min(_LARGEST, _PIXELS // resolution**2))


class Engine:
    """Runs the programs of a model on batches, over its devices.

    It can be copied and pickled. Both keep config, parameters, dtype, statistics and `batch_size`. A copy uses the
    same devices. An unpickled model uses all devices of its process. Several threads may use one model.

    Attributes:
      config: the config it was trained with, locked.
      image_model: the model itself, an `ImageModel`, in float32.
      params: its parameters as they were trained, raw.
      dtype: the dtype of the networks' arithmetic in sampling and interpolating, "float32" or "bfloat16". Encoding is
        always in float32, and decoding also, unless a method is told otherwise: only float32 recovers images exactly.
      mesh: the devices that share every batch.
      resolution: R, pixels.
      level_names: the levels of latents, coarse to fine.
      latent_shapes: the shape of each level's latents, without the batch.
      batch_size: the largest number of images that are computed at once.
      sigma: the std of latents that `hcflow tune-sigma` stored with the model, or None.
      statistics: stored statistics for the likelihood of fewer images than a batch unit; {} if there are none. See
        `Model.bits_per_dim`.
    """

    def __init__(
        self,
        config: ConfigDict,
        params: Any,
        dtype: str = "float32",
        mesh: Mesh | None = None,
        statistics: Mapping[str, float] | None = None,
        sigma: Sigma | None = None,
    ):
        """Does not compile anything yet.

        Args:
          config: the whole config.
          params: as trained (the EMA's); on a device or not.
          dtype: "float32" or "bfloat16".
          mesh: from `devices.in_a_row`; None: this process's devices, all of them.
          statistics: by name, as `Model.measure_statistics` gives them.
          sigma: the default of sampling, if one is stored with the model.

        Raises:
          InputError: the dtype is not allowed, or the process was forked from one that had a model.
          ConfigError: no model can be made from the config.
          EnvironmentSettingError: JAX cannot start with these environment variables.
        """
        check_process()
        devices.start()
        if not (mesh is None or isinstance(mesh, Mesh)):
            raise InputError(f"mesh is {type(mesh).__name__}: expected a mesh from devices.in_a_row")
        self._lock, self._prepared = threading.RLock(), None
        self._placed = mesh is not None or jax.local_device_count() > 1
        self.mesh = devices.in_a_row(jax.local_devices()) if mesh is None else mesh
        self.config, self.dtype, self.params = config, known_dtype(dtype), params
        self.statistics, self.sigma = dict(statistics or {}), sigma
        self._programs: dict[str, Programs] = {}
        self.image_model: ImageModel = self._use("float32").model
        self.resolution: int = self.image_model.image_shape[0]
        self.level_names: tuple[str, ...] = self.image_model.level_names
        self.latent_shapes: dict[str, tuple[int, ...]] = self.image_model.latent_shapes
        self.batch_size = largest_batch(self.resolution) * self.mesh.size

    @property
    def default_sigma(self) -> Sigma:
        """The std of latents in sampling, unless another is given: `sigma`, or the config's `sample.sigma`."""
        return float(self.config.sample.sigma) if self.sigma is None else self.sigma

    def __reduce__(self) -> tuple[Any, ...]:
        params = jax.tree.map(np.asarray, self.params)
        arguments = self.config, params, self.dtype, None, self.statistics, self.sigma
        return _remade, (type(self), arguments, self.batch_size, {})

    def __copy__(self) -> "Engine":
        arguments = self._arguments(self.params)
        return _remade(type(self), arguments, self.batch_size, self._programs)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Engine":
        params = jax.tree.map(np.array, self.params)
        arguments = self._arguments(params)
        return _remade(type(self), arguments, self.batch_size, self._programs)

    def _arguments(self, params: Any) -> tuple[Any, ...]:
        mesh = self.mesh if self._placed else None
        return self.config, params, self.dtype, mesh, self.statistics, self.sigma

    def with_params(self, params: Any) -> Self:
        """The same model with other parameters. Compiled programs are shared; stored statistics and
        temperatures are not.

        >>> model = api.load("portraits")
        >>> half = model.with_params(jax.tree.map(lambda a: a / 2, model.params))
        >>> bool((half.sample(1) == model.sample(1)).all())
        False
        """
        mesh = self.mesh if self._placed else None
        return _remade(type(self), (self.config, params, self.dtype, mesh, {}), self.batch_size, self._programs)

    @property
    def prepared(self) -> Any:
        """The prepared parameters (`ImageModel.prepare`), on the devices."""
        check_process()
        with self._lock:
            if self._prepared is None:
                prepare = self._use("float32").prepare
                everywhere = devices.replicated(self.mesh)
                if self._placed:
                    self._prepared = devices.place(everywhere, prepare(devices.place(everywhere, self.params)))
                else:
                    self._prepared = prepare(self.params)
            return self._prepared

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of config and parameters, in hexadecimal. Models with the same fingerprint make the same images."""
        digest = hashlib.sha256(json.dumps(config_to_plain(self.config), sort_keys=True).encode())
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
            array = np.ascontiguousarray(leaf)
            digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
            digest.update(memoryview(array.reshape(-1).view(np.uint8)))  # pyright: ignore
        return digest.hexdigest()

    def _use(self, dtype: str) -> Programs:
        check_process()
        with self._lock:
            if known_dtype(dtype) not in self._programs:
                self._programs[dtype] = Programs(self.config, dtype, self.mesh.size > 1)
            return self._programs[dtype]

    def _largest(self, unit: int = 1) -> int:
        """The largest number of examples that are computed at once: a multiple of the unit on each device."""
        multiple = unit * self.mesh.size
        return max(multiple, self.batch_size // multiple * multiple)

    def _place(self, batch: Any) -> Any:
        return devices.place(devices.split(self.mesh), batch) if self._placed else batch

    def _stream(self, program: Any, trees: Iterable[Any], *more: Any, unit: int = 1) -> Iterator[Any]:
        """Yields the results of a program on trees of arrays (n, ...), one piece after another.

        Args:
          program: of (params, batch, *more).
          trees: any number of trees, of any n.
          *more: arguments that are the same for all batches.
          unit: on each device, batches are multiples of this number.
        """
        call = lambda batch: program(self.prepared, batch, *more)  # noqa: E731
        return batches.stream(call, trees, self._largest(unit), unit * self.mesh.size, self._place)

    def _numbered(self, program: Callable[..., Any], numbers: range) -> Iterator[Any]:
        """Yields the results of a program for images by their numbers, one batch after another."""
        most = self._largest()
        trees = (np.array(numbers[i : i + most], np.uint32) for i in range(0, len(numbers), most))
        return self._stream(program, trees)

    def _latents(self, z: Mapping[str, Any]) -> Latents:
        # jit sorts the keys of a dict
        return Latents({name: z[name] for name in self.level_names})


_Kind = TypeVar("_Kind", bound=Engine)


def _remade(kind: type[_Kind], arguments: tuple[Any, ...], batch_size: int, programs: dict[str, Programs]) -> _Kind:
    """A copy. Compiled programs depend only on the config, so the copies in a process share them."""
    made = kind(*arguments)
    made.batch_size = batch_size
    made._programs.update(programs)
    return made
