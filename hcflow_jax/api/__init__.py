"""A trained model for use, by notebooks, the command line and other programs.

from hcflow_jax import api

model = api.load()                            # the model in the box; or a workdir, a step in it, a weights file
images = model.sample(16, seed=3, sigma=0.7)  # (16, R, R, 3) uint8
latents = model.encode(images)                # latents["8"]: the level of resolution 8
same = model.decode(latents)
blurred = model.decode(model.zero(latents, model.level_names[-1]))
"""

from hcflow_jax.api.latents import Latents, concatenate
from hcflow_jax.api.loading import BOXED, load
from hcflow_jax.api.model import SIGMA, Model

__all__ = ["BOXED", "SIGMA", "Latents", "Model", "concatenate", "load"]
