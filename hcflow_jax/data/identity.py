"""Whether two sources have the same images.

The identity of a folder, a zip file, LSUN or TensorFlow Datasets is a digest of names, because a digest of all pixels
would take too long. It does not change if other pictures get the same names. So the pixels of a few images are
compared, too. The identity of a prepared set is a digest of its pixels already, and no image is read.
"""

import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import numpy as np

from hcflow_jax.data.source import DataError, Source, several

_PROBED = 16  # images


def covers_pixels(source: Source) -> bool:
    """Whether other pixels give the source another identity. Such a source has `identity_covers_pixels = True`."""
    return getattr(source, "identity_covers_pixels", False)


def probe(source: Source, places: np.ndarray | None = None) -> str:
    """A digest of the pixels of at most 16 images.

    Args:
      source: the images.
      places: the indices of the images that matter, (n,). None: all images. The digest is of evenly spaced ones, the
        first and the last included.

    Returns:
      The digest; "" if the identity of the source covers the pixels.

    Raises:
      DataError: one of these images cannot be read.
    """
    if covers_pixels(source):
        return ""
    places = np.arange(len(source)) if places is None else places
    chosen = np.linspace(0, len(places) - 1, min(len(places), _PROBED)).round().astype(int)
    digest = hashlib.sha256()
    for image in several(source, places[chosen].tolist()):
        digest.update(str(image.shape).encode() + np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def with_pixels(source: Source, places: np.ndarray | None = None) -> str:
    """The identity of a source, followed by `probe` if the identity does not cover the pixels. It may be a key."""
    return f"{source.identity} {probe(source, places)}".rstrip()


def describe(source: Source) -> dict[str, Any]:
    """Describes the images of a source as plain values for JSON, for `same`.

    Returns:
      "name", "count", "identity" and "probe". There is no "probe" if the identity covers the pixels, or if one of
      the images cannot be read.
    """
    about = {"name": source.name, "count": len(source), "identity": source.identity}
    try:
        pixels = probe(source)
    except DataError:  # whoever needs this image will say so
        return about
    return about | ({"probe": {"pixels": pixels, "pillow": importlib.metadata.version("pillow")}} if pixels else {})


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two results of `describe` are of the same images.

    The pixels are compared if both have a probe by the same version of Pillow. Another version may decode the same
    picture to other pixels.
    """
    if first["identity"] != second["identity"]:
        return False
    one, other = first.get("probe"), second.get("probe")
    return one is None or other is None or one["pillow"] != other["pillow"] or one["pixels"] == other["pixels"]
