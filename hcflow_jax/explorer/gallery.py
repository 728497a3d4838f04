"""The bundled pictures, encoded once for all visits to a model."""

import threading

from hcflow_jax.api import Model
from hcflow_jax.explorer import bundled
from hcflow_jax.explorer.state import Picture


class Gallery:
    """Gives each bundled picture as a `Picture`. Several threads may use it.

    Attributes:
      names: the names of the pictures. Those of the model's own style come first.
    """

    def __init__(self, model: Model):
        """Keeps the model. Pictures are encoded when they are needed."""
        self._model, self._lock = model, threading.Lock()
        self._pictures: dict[str, Picture] = {}
        self.names = bundled.ordered(model.config.data.get("style", ""))

    def picture(self, name: str) -> Picture:
        """A picture with its latents. It is encoded on the first call.

        Raises:
          InputError: no bundled picture has this name.
        """
        with self._lock:
            if name not in self._pictures:
                image = bundled.load(name, self._model.resolution)
                self._pictures[name] = Picture(name, True, image, self._model.encode(image))
            return self._pictures[name]
