"""Pictures in the package, encoded once for all visits to a model."""

import threading

from hcflow_jax.api import Model
from hcflow_jax.explorer import bundled
from hcflow_jax.explorer.state import Picture


class Gallery:
    """Gives each picture in the package as a `Picture`; several threads may use it."""

    def __init__(self, model: Model):
        """Encodes nothing yet."""
        self._model, self._lock = model, threading.Lock()
        self._pictures: dict[str, Picture] = {}
        self.names = bundled.ordered(model.config.data.get("style", ""))

    def picture(self, name: str) -> Picture:
        """A picture, encoded.

        Raises:
          InputError: there is no such picture.
        """
        with self._lock:
            if name not in self._pictures:
                image = bundled.load(name, self._model.resolution)
                self._pictures[name] = Picture(name, True, image, self._model.encode(image))
            return self._pictures[name]
