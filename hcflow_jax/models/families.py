"""The families of models by name: `config.model.family` names the module that makes the model of a config."""

import importlib

from ml_collections import ConfigDict

from hcflow_jax.models.base import ImageModel

FAMILIES = {"hierarchy": "hcflow_jax.models.hierarchy.build"}


def build(config: ConfigDict) -> ImageModel:
    """The model of a config.

    Raises:
      ConfigError: one line that names the field and says what it must be.
    """
    return importlib.import_module(FAMILIES["hierarchy"]).build(config)
