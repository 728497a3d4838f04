"""The paper's model, family "hierarchy": levels of features, each with a flow conditioned on the coarser levels.

`model` is the `ImageModel`, `objective` its loss and bound, `noise` the noise of training. `schema` declares the
fields of the config, `checks` checks them together, and `build` makes the model. `family` is the entry point: the
rest of the package finds the others through it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.level import IMAGE_SCALE
    from hcflow_jax.models.hierarchy.model import Hierarchy

__all__ = ["IMAGE_SCALE", "Hierarchy"]


def __getattr__(name: str) -> Any:
    """Imports the model when it is first used. So the defaults of a config can be read without importing JAX."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from hcflow_jax.models.hierarchy import level, model

    return {"IMAGE_SCALE": level.IMAGE_SCALE, "Hierarchy": model.Hierarchy}[name]
