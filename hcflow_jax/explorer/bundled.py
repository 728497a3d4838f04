"""The pictures that come with the package: held-out drawings of the two styles that the models in the box know."""

from pathlib import Path

from hcflow_jax.api.coder import Images
from hcflow_jax.data import images
from hcflow_jax.errors import InputError

_STYLES = {"portrait": "toon-head", "scene": "landscape"}
_COUNT = 6
_SIZES = (32, 64)  # pixels, of the files; other resolutions are resized from the larger

NAMES = tuple(f"{kind}-{number}" for kind in _STYLES for number in range(_COUNT))


def ordered(style: str) -> tuple[str, ...]:
    """`NAMES`, those of a style (the config's `data.style`) first."""
    return tuple(sorted(NAMES, key=lambda name: _STYLES[name.split("-")[0]] != style))


def path(name: str, resolution: int) -> Path:
    """The file of a picture, the fittest for a resolution.

    Raises:
      InputError: there is no such picture.
    """
    if name not in NAMES:
        raise InputError(f"no picture {name!r} comes with the package; there are {', '.join(NAMES)}")
    size = resolution if resolution in _SIZES else max(_SIZES)
    return Path(__file__).with_name("drawn") / f"{name}-{size}px.png"


def load(name: str, resolution: int) -> Images:
    """A picture, (1, resolution, resolution, 3) uint8.

    Raises:
      InputError: there is no such picture.

    >>> load("portrait-0", 32).shape
    (1, 32, 32, 3)
    """
    return images.load(path(name, resolution), resolution, name, lambda *_: None)[None]
