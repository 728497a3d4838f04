"""Models: where flows and nets meet. `base` says what an image model is; each family is a package beside it.

Everything above this room builds its model with `build` and knows it as an `ImageModel`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hcflow_jax.models.base import ImageModel, Objective
    from hcflow_jax.models.families import build

__all__ = ["ImageModel", "Objective", "build"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for: the fields of a family, which lie in this package, need not wait for JAX."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from hcflow_jax.models import base, families

    return families.build if name == "build" else getattr(base, name)
