"""The paper's model, family "hierarchy": levels of features, each with a flow conditioned on the coarser ones.

`model` is the network of flows, `objective` its loss and bound, `noise` what perturbs it in training. `schema`
declares the fields of its config, `checks` says what they must be together, `build` makes the model; `family` is how
the rest of the package finds them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hcflow_jax.models.hierarchy.level import IMAGE_SCALE
    from hcflow_jax.models.hierarchy.model import Hierarchy

__all__ = ["IMAGE_SCALE", "Hierarchy"]


def __getattr__(name: str) -> Any:
    """Imports the model when it is asked for: a config's defaults need not wait for JAX."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from hcflow_jax.models.hierarchy import level, model

    return {"IMAGE_SCALE": level.IMAGE_SCALE, "Hierarchy": model.Hierarchy}[name]
