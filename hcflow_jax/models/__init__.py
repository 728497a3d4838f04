"""Models: where flows and nets meet. `base` says what an image model is; each family is a package beside it.

Everything above this room builds its model with `build` and knows it as an `ImageModel`.
"""

from hcflow_jax.models.base import ImageModel, Objective
from hcflow_jax.models.families import build

__all__ = ["ImageModel", "Objective", "build"]
