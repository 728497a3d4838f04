"""Glow (Kingma and Dhariwal, 2018), family "glow": one flow over pixels; half of the channels leave at each level.

`family` declares the fields of the config, `build` makes the model, `nets` has the networks of couplings and priors,
and `model` is the `ImageModel`. The paper compares its model with Glow (Section 3.3, Table 5).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hcflow_jax.models.glow.model import Glow

__all__ = ["Glow"]


def __getattr__(name: str) -> Any:
    """Imports the model when it is first used. So the defaults of a config can be read without importing JAX."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from hcflow_jax.models.glow import model

    return model.Glow
