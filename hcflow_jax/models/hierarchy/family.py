"""The family "hierarchy", a `config.registry.Family`. JAX is imported where it is needed."""

from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from hcflow_jax.models.hierarchy.schema import DEFAULTS, FIELDS, RATES

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.model import Hierarchy
    from hcflow_jax.models.hierarchy.outline import HierarchyOutline

__all__ = ["DEFAULTS", "FIELDS", "RATES", "build", "check", "outline"]


def check(config: ConfigDict) -> None:
    """See `Family`."""
    from hcflow_jax.models.hierarchy import checks

    checks.check(config)


def build(config: ConfigDict) -> "Hierarchy":
    """See `Family`."""
    from hcflow_jax.models.hierarchy import build

    return build.build(config)


def outline(model: "Hierarchy") -> "HierarchyOutline":
    """See `Family`."""
    from hcflow_jax.models.hierarchy.outline import HierarchyOutline

    return HierarchyOutline(model)
