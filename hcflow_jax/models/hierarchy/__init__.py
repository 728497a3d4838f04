"""The paper's model, family "hierarchy": levels of features, each with a flow conditioned on the coarser ones.

`model` is the network of flows, `objective` its loss and bound, `noise` what perturbs it in training. `build` makes
it from a config, and `checks` says what that config may hold.
"""

from hcflow_jax.models.hierarchy.level import IMAGE_SCALE
from hcflow_jax.models.hierarchy.model import Hierarchy

__all__ = ["IMAGE_SCALE", "Hierarchy"]
