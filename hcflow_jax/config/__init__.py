"""Configs: all fields with their defaults, units and allowed values, and how configs are stored.

A config is a locked `ml_collections.ConfigDict`, so setting a misspelt field is an error. Files in `configs/` only
override the defaults. `hcflow_jax.models.build` checks the values, before anything compiles. `groups` declares the
fields that all models have. The module of each family declares those of `config.model`. docs/config.md lists all of
them. Sections, equations and tables are those of the paper ("Invertible Hierarchical Generative Model for Images",
TMLR 2023).
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.config.fields import ConfigError
from hcflow_jax.config.registry import load, register
from hcflow_jax.config.schema import check, check_paths, default, family_of, is_path, may_change
from hcflow_jax.config.stored import config_from_plain, config_to_plain, differences, flat

__all__ = [
    "ConfigError",
    "check",
    "check_paths",
    "config_from_plain",
    "config_to_plain",
    "default",
    "differences",
    "family_of",
    "flat",
    "is_path",
    "level",
    "levels",
    "load",
    "may_change",
    "register",
]


def level(**fields: Any) -> ConfigDict:
    """The fields of one level of the hierarchy; see `hcflow_jax.models.hierarchy.schema.level`."""
    from importlib import import_module

    return import_module("hcflow_jax.models.hierarchy.schema").level(**fields)


def levels(rows: Mapping[int, ConfigDict]) -> ConfigDict:
    """The group `config.model.levels`, with the names r256, r128, ...

    With the "r", every field can be set on the command line: `--config.model.levels.r32.hidden=64`.

    Args:
      rows: {resolution: level}.
    """
    return ConfigDict({f"r{resolution}": row for resolution, row in rows.items()})
