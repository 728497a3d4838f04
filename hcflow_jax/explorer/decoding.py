"""Decodes recipes to images. Levels that are coarser than a change are not decoded again, and images are cached."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8

from hcflow_jax.api import Coarse, Latents, Model
from hcflow_jax.explorer.state import ZERO, Drawn, Mix, Part, Recipes

Image = UInt8[np.ndarray, "R R 3"]
_Value = TypeVar("_Value")

_IMAGES, _LATENTS = 64, 32  # the most images and level latents in the caches


class Decoder:
    """Decodes for one visit. Several threads may use it; `image` and `first_levels` run in one thread at a time."""

    def __init__(self, model: Model):
        """Makes empty caches."""
        self._model, self._lock = model, threading.Lock()
        self._images: OrderedDict[Recipes, Image] = OrderedDict()
        self._parts: OrderedDict[tuple[Part, str], np.ndarray] = OrderedDict()
        self._coarse: dict[int, tuple[Recipes, Coarse]] = {}  # number of decoded levels -> their recipes and state
        self._last: Recipes = ()

    def image(self, recipes: Recipes) -> Image:
        """Decodes an image. Only the coarsest level that changed since the last call and the finer ones are decoded.

        Args:
          recipes: one for each level, coarse to fine.

        Returns:
          (R, R, 3), uint8.
        """
        with self._lock:
            same = 0
            while same < min(len(self._last), len(recipes)) and self._last[same] == recipes[same]:
                same += 1
            self._last = recipes
            return self._decoded(recipes, min(same, len(recipes) - 1))

    def first_levels(self, recipes: Recipes, count: int) -> Image:
        """Decodes the image of the `count` coarsest levels, with the finer levels at zero (cumulative zeroing).

        The state of the decoded levels is kept for later changes of level `count`.

        Returns:
          (R, R, 3), uint8.
        """
        with self._lock:
            zeros = (ZERO,) * (len(recipes) - count)
            return self._decoded((*recipes[:count], *zeros), count)

    def whole(self, recipes: Recipes) -> Image:
        """Decodes the image with `Model.decode`: every call and every script gives the same bytes."""
        return self._model.decode(self.latents(recipes))[0]

    def latents(self, recipes: Recipes) -> Latents:
        """The latents of the image."""
        names = self._model.level_names
        firsts = [recipe.a if isinstance(recipe, Mix) else recipe for recipe in recipes]
        a = Latents({name: self._part(part, name) for name, part in zip(names, firsts, strict=True)})
        mixes = {name: recipe for name, recipe in zip(names, recipes, strict=True) if isinstance(recipe, Mix)}
        if not mixes:
            return a
        mix = next(iter(mixes.values()))
        b = a.replace(**{name: self._part(each.b, name) for name, each in mixes.items()})
        blended = self._model.blend(a, b, mix.weight, mix.how)
        return a.replace(**{name: blended[name] for name in mixes})

    def _decoded(self, recipes: Recipes, count: int) -> Image:
        """Decodes the image, or takes it from the cache. The state after `count` levels is kept."""

        def decode() -> Image:
            latents = self.latents(recipes)
            if count == 0:
                return self._model.decode(latents)[0]
            known, coarse = self._coarse.get(count, ((), None))
            if coarse is None or known != recipes[:count]:
                coarse = self._model.decode_coarse(latents, self._model.level_names[count])
                self._coarse[count] = recipes[:count], coarse
            return self._model.decode_from(coarse, latents)[0]

        return _kept(self._images, recipes, decode, _IMAGES)

    def _part(self, part: Part, name: str) -> np.ndarray:
        """The latent of one level, (1, ...) float32."""
        source, sigma = part.source, part.sigma
        if source is None:
            return np.zeros((1, *self._model.latent_shapes[name]), np.float32)
        if isinstance(source, Drawn):
            draw: Any = lambda: self._model.draw(1, source.seed, {name: sigma})[name]  # noqa: E731
            return _kept(self._parts, (part, name), draw, _LATENTS)
        return source.latents[name] if sigma == 1 else sigma * source.latents[name]


def _kept(cache: OrderedDict[Any, _Value], key: Any, make: Callable[[], _Value], most: int) -> _Value:
    """A value from the cache, or else a new one. The cache keeps the `most` values that were used last."""
    if key in cache:
        cache.move_to_end(key)
    else:
        cache[key] = make()
        while len(cache) > most:
            cache.popitem(last=False)
    return cache[key]
