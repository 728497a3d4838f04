"""A walk through the latents of a model: from one draw to the next, and at last back to the first draw."""

from collections.abc import Iterable

import numpy as np

from hcflow_jax import api
from hcflow_jax.api.arguments import Levels, Sigma, are_latents, known_levels, whole
from hcflow_jax.api.latents import concatenate
from hcflow_jax.errors import InputError


def latents(
    model: api.Model,
    stops: int = 6,
    steps: int = 20,
    seed: int = 0,
    sigma: Sigma | None = None,
    levels: Levels | None = None,
    start: api.Latents | None = None,
) -> api.Latents:
    """Latents on arcs between independent draws. The walk ends where it begins, so a video can repeat without a jump.

    On an arc, latents keep their length, so the images on the way look like draws. On a straight line, latents would
    become shorter, and the images smoother.

    Args:
      model: from `api.load`, of any family.
      stops: the number of draws that the walk visits, with the first one; 2 or more.
      steps: the number of images from one stop to the next, with the stop itself; at least 1.
      seed, sigma: for the draws, as in `Model.draw`.
      levels: the levels that change. The others keep their values at the start. None: all levels change.
      start: the latents of one image, at which the walk begins and ends. None: the first draw.

    Returns:
      The latents of `stops` * `steps` images.

    Raises:
      InputError: an argument is not allowed; the message names it.
    """
    stops = whole("stops", stops, 2, what="2 or more: a walk goes somewhere")
    steps = whole("steps", steps, 1)
    walking = model.level_names if levels is None else known_levels(model.image_model, levels)
    drawn = model.draw(stops, seed, sigma)
    if start is not None:
        if len(are_latents(start, "start")) != 1:
            raise InputError(f"start is of {len(start)} images: give the latents of one")
        drawn = concatenate([start, drawn[1:]])
    first = drawn[np.zeros(stops, int)]
    places = first.replace(**{name: drawn[name] for name in walking})
    following = places[[*range(1, stops), 0]]
    weights = (np.arange(steps) / steps).tolist()
    ways = concatenate([model.blend(places, following, weight, how="spherical") for weight in weights])
    return ways[np.arange(stops * steps).reshape(steps, stops).T.reshape(-1)]


def places(stops: int, steps: int, shown: int) -> Iterable[int]:
    """The indices of at most `shown` images of a walk, evenly spaced, from the start."""
    return np.unique(np.linspace(0, stops * steps, min(shown, stops * steps), endpoint=False).astype(int)).tolist()
