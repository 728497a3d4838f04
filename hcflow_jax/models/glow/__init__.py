"""Glow (Kingma and Dhariwal, 2018), family "glow": one flow over the pixels, half of which leaves at each level.

`family` declares the fields of its config and builds it, `nets` has the networks of its couplings and priors, `model`
is the `ImageModel`. It is what the paper compares with (Section 3.3, Table 5).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hcflow_jax.models.glow.model import Glow

__all__ = ["Glow"]


def __getattr__(name: str) -> Any:
    """Imports the model when it is asked for: a config's defaults need not wait for JAX."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from hcflow_jax.models.glow import model

    return model.Glow
