"""The pictures that come with the package: held-out drawings of the two styles of the bundled pretrained models."""

from pathlib import Path

from hcflow_jax.api.coder import Images
from hcflow_jax.data import images
from hcflow_jax.errors import InputError

_STYLES = {"portrait": "toon-head", "scene": "landscape"}
_COUNT = 6
_SIZES = (32, 64)  # sizes of the files, pixels; for other resolutions the larger one is resized

NAMES = tuple(f"{kind}-{number}" for kind in _STYLES for number in range(_COUNT))


def ordered(style: str) -> tuple[str, ...]:
    """`NAMES`, in an order that begins with the names of a style (the config's `data.style`)."""
    return tuple(sorted(NAMES, key=lambda name: _STYLES[name.split("-")[0]] != style))


def path(name: str, resolution: int) -> Path:
    """The file of a picture that fits a resolution best.

    Raises:
      InputError: no bundled picture has this name.
    """
    if name not in NAMES:
        raise InputError(f"no picture {name!r} comes with the package; there are {', '.join(NAMES)}")
    size = resolution if resolution in _SIZES else max(_SIZES)
    return Path(__file__).with_name("drawn") / f"{name}-{size}px.png"


def load(name: str, resolution: int) -> Images:
    """Reads a picture, (1, resolution, resolution, 3) uint8.

    Raises:
      InputError: no bundled picture has this name.

    >>> load("portrait-0", 32).shape
    (1, 32, 32, 3)
    """
    return images.load(path(name, resolution), resolution, name, lambda *_: None)[None]
