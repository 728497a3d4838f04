"""The explorer shows a model in the browser: a user sees images level by level and changes them.

`hcflow explore` starts it. `Visit` holds the state and the operations of one user, without a user interface.
`serving.serve` shows it on a page.
"""

from hcflow_jax.explorer.state import Drawn, Picture
from hcflow_jax.explorer.visit import Visit

__all__ = ["Drawn", "Picture", "Visit"]
