"""A model in the browser: see its images level by level, and change them. `hcflow explore` starts it.

`Visit` is what one person sees and does, without a user interface; `serving.serve` puts it on a page.
"""

from hcflow_jax.explorer.state import Drawn, Picture
from hcflow_jax.explorer.visit import Visit

__all__ = ["Drawn", "Picture", "Visit"]
