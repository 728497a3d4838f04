"""A trained model in use: the interface for notebooks, the command line and other programs.

from hcflow_jax import api

model = api.load()                            # a bundled model; or a workdir, one of its steps, a weights file
images = model.sample(16, seed=3, sigma=0.7)  # (16, R, R, 3) uint8
latents = model.encode(images)                # an array for each of model.level_names
same = model.decode(latents)
blurred = model.decode(model.zero(latents, model.level_names[-1]))

The examples of the methods are doctests.
"""

from hcflow_jax.api.bits import Bits
from hcflow_jax.api.coder import Coarse
from hcflow_jax.api.images import held_out
from hcflow_jax.api.latents import Latents, concatenate
from hcflow_jax.api.loading import BOXED, load
from hcflow_jax.api.model import Model
from hcflow_jax.api.samples import Samples

__all__ = ["BOXED", "Bits", "Coarse", "Latents", "Model", "Samples", "concatenate", "held_out", "load"]
