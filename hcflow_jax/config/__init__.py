"""Configs: every field with its default and unit, what it may be, and how configs are stored.

A config is a locked `ml_collections.ConfigDict`, so a misspelt field is refused where it is written. Files in
`configs/` only override the defaults. What a value may be is checked by `hcflow_jax.models.build`, before anything
compiles. `groups` declares the fields that all models have, the module of each family those of `config.model`;
docs/config.md lists them all. Sections, equations and tables are those of the paper ("Invertible Hierarchical
Generative Model for Images", TMLR 2023).
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hcflow_jax.config.fields import ConfigError
from hcflow_jax.config.registry import load, register
from hcflow_jax.config.schema import check, check_paths, default, family_of, may_change
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
    "level",
    "levels",
    "load",
    "may_change",
    "register",
]


def level(**fields: Any) -> ConfigDict:
    """A level of the hierarchy: see `hcflow_jax.models.hierarchy.schema.level`."""
    from importlib import import_module

    return import_module("hcflow_jax.models.hierarchy.schema").level(**fields)


def levels(rows: Mapping[int, ConfigDict]) -> ConfigDict:
    """Levels keyed by resolution, as `config.model.levels` holds them: r256, r128, ...

    The "r" makes every field reachable on the command line: `--config.model.levels.r32.hidden=64`.
    """
    return ConfigDict({f"r{resolution}": row for resolution, row in rows.items()})
