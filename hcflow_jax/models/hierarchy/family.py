"""The family "hierarchy", a `config.registry.Family`. Its functions import JAX when they need it."""

from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from hcflow_jax.models.hierarchy.schema import DEFAULTS, FIELDS, RATES

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.model import Hierarchy
    from hcflow_jax.models.hierarchy.outline import HierarchyOutline

__all__ = ["DEFAULTS", "FIELDS", "RATES", "build", "check", "outline"]


def check(config: ConfigDict) -> None:
    """Checks that the fields of a config fit together; see `checks.check`."""
    from hcflow_jax.models.hierarchy import checks

    checks.check(config)


def build(config: ConfigDict) -> "Hierarchy":
    """Makes the model of a config; see `build.build`."""
    from hcflow_jax.models.hierarchy import build

    return build.build(config)


def outline(model: "Hierarchy") -> "HierarchyOutline":
    """The outline of a model; see `Family`."""
    from hcflow_jax.models.hierarchy.outline import HierarchyOutline

    return HierarchyOutline(model)
