"""Models, which combine flows and networks. `base` defines the interface `ImageModel`; each family has a package.

Training, evaluation and the API make a model with `build` and use it only through `ImageModel`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hcflow_jax.models.base import ImageModel
    from hcflow_jax.models.families import build
    from hcflow_jax.models.results import Objective

__all__ = ["ImageModel", "Objective", "build"]


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used. So the fields of the families can be read without importing JAX."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from hcflow_jax.models import base, families, results

    return {"ImageModel": base.ImageModel, "Objective": results.Objective, "build": families.build}[name]
