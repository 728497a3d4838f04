"""Loads a trained model by its path, or a bundled pretrained model by its name."""

from pathlib import Path

from jax.sharding import Mesh

from hcflow_jax import box, buckets, checkpoint, devices, models, parameters
from hcflow_jax.api import sampling_file
from hcflow_jax.api.model import Model
from hcflow_jax.checkpoint import CheckpointError

BOXED = box.NAMES


def load(path: str | Path | None = None, *, dtype: str = "float32", mesh: Mesh | None = None) -> Model:
    """Loads a model with the parameters of the EMA.

    Args:
      path: a workdir (its newest step that can be read), one step in its `checkpoints/`, a weights file, or the name
        of a bundled pretrained model (`BOXED`). None: the first bundled model. For a folder with the name of a
        bundled model write "./portraits". Workdirs and steps may be in a bucket, gs://BUCKET/NAME; weights files
        also in s3://.
      dtype: the dtype of the networks' arithmetic in sampling: "float32", or "bfloat16", which is faster on
        accelerators and decodes latents to nearly the same images.
      mesh: the devices that share every batch, from `devices.in_a_row`; None: all devices of this process.

    Raises:
      CheckpointError: there is no checkpoint, or it is damaged.
      ConfigError: this version cannot make a model from its config.
      InputError: the dtype is not allowed, or the path is not allowed (see `paths.place`).
      StoreError: the store of the bucket refuses or does not answer.
      EnvironmentSettingError: JAX cannot start with these environment variables.

    >>> model = api.load("portraits")
    >>> model.sample(2, seed=3).shape == (2, model.resolution, model.resolution, 3)
    True
    """
    devices.start()
    where = box.weights(BOXED[0]) if path is None else box.find(path)
    with buckets.named_errors(where):
        if not where.exists():
            raise CheckpointError(f"{where}: no such directory or file, and not a bundled model ({', '.join(BOXED)})")
        found = checkpoint.load(where)
        sigma = sampling_file.read(where) if where.is_dir() else found.metadata.get("sigma")
    if (
        where.parent != box.weights(BOXED[0]).parent
    ):  # tracing the whole model takes seconds; the bundled models are tested
        expected = models.build(found.config).shapes()
        if other := parameters.first_difference(found.arrays["ema"], expected):
            name, there, here = other
            raise CheckpointError(
                f"{where} does not fit its own config: {name} is {_said(there)} there, but "
                f"{_said(here)}; get the file again"
            )
    return Model(found.config, found.arrays["ema"], dtype, mesh, found.metadata.get("statistics"), sigma)


def _said(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(shape)
