"""Compares two sets of images: Frechet distance, kernel distance, precision and recall, from the same features."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import (
    attribute_distances,
    attributes,
    extractors,
    kernel,
    neighbourhoods,
    references,
    sets,
)
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.features import features
from hcflow_jax.evaluation.frechet import frechet
from hcflow_jax.evaluation.moments import Statistics, statistics

Tell = Callable[[int, int], object]  # images done, of how many

METRICS = ("frechet", "kid", "prc")
_BLOCK = 4096  # features summed at once


@dataclass(frozen=True)
class Side:
    """One of the two sets.

    Attributes:
      name: the name of the set, for messages.
      features: (n, d); None if only statistics are known.
      statistics: mean and covariance of the features.
      about: what is known about how the features were made, as plain values.
    """

    name: str
    features: Float[np.ndarray, "n d"] | None
    statistics: Statistics
    about: dict[str, Any]

    @property
    def count(self) -> int | None:
        """The number of images; None if only statistics are known and they do not state it."""
        return self.statistics.count


def side(
    path: Path, extractor: Callable[[], Extractor], batch_size: int = 50, tell: Tell = lambda done, of: None
) -> Side:
    """Reads a set from a folder of images, a prepared set, or a file of images, features or statistics.

    Args:
      path: the folder, the prepared set or the file, see `references`.
      extractor: makes the extractor; it is called only if the path contains images.
      batch_size: the number of images that a device takes at once.
      tell: is called after every batch, with the images done and their number.

    Raises:
      InputError: the path cannot be read or compared; the message names it.
      DataError: the folder contains no picture, a picture cannot be read, or the prepared set is damaged.
    """
    if path.is_dir():
        return _of_images(sets.of_directory(path), extractor(), batch_size, tell)
    found = references.read(path)
    if found.images is not None:
        return _of_images(sets.of_array(str(path), found.images), extractor(), batch_size, tell)
    about = {"file": str(path), **(found.about or {})}
    if found.features is not None:
        return Side(str(path), found.features, moments(found.features), about)
    if found.statistics is None:
        raise InputError(f"{path}: contains nothing to compare")
    return Side(str(path), None, found.statistics, about)


def extract(
    images: sets.ImageSet, extractor: Extractor, batch_size: int = 50, tell: Tell = lambda done, of: None
) -> Float[np.ndarray, "n d"]:
    """Computes the features of a set, in order, on all devices of this process.

    Args:
      images: the set.
      extractor: makes the features.
      batch_size: the number of images that a device takes at once. So many for each device are read at once.
      tell: is called after every batch, with the images done and their number.

    Raises:
      InputError: some features are not finite, or a picture has another size.
      DataError: a picture cannot be read.
    """
    batches = images.batches(batch_size * jax.local_device_count())
    return extract_batches(images.name, images.count, batches, extractor, batch_size, tell)


def extract_batches(
    name: str,
    count: int,
    batches: Iterable[sets.Images],
    extractor: Extractor,
    batch_size: int = 50,
    tell: Tell = lambda done, of: None,
) -> Float[np.ndarray, "n d"]:
    """Computes the features of images that come in batches of any size.

    Args:
      name: the name of the images, for messages.
      count: n, the number of images.
      batches: the images.
      extractor: makes the features.
      batch_size: the number of images that a device takes at once.
      tell: is called after every batch, with the images done and `count`.

    Raises:
      InputError: some features are not finite; the message names the images.
    """
    made = np.empty((count, extractor.dims), np.float32)
    done = 0
    for part in features(extractor.network, extractor.weights, batches, batch_size):
        made[done : done + len(part)] = part
        done += len(part)
        tell(done, count)
    if not np.isfinite(made).all():
        raise InputError(f"{name}: the features of some images are not finite; check the weights")
    return made


def compare(
    generated: Side, real: Side, metrics: tuple[str, ...] = METRICS, seed: int = 0, name: str = extractors.INCEPTION
) -> dict[str, Any]:
    """Computes the distances between two sets.

    Args:
      generated: images of a model.
      real: real images.
      metrics: any of `METRICS`.
      seed: the seed of the kernel distance's subsets and of the floors of the attribute distances.
      name: the extractor of the features, if neither set states its own.

    Returns:
      "fid", or "frechet_EXTRACTOR" for features that are not Inception's; "kid" with "kid_spread"; "precision" and
      "recall"; "attributes" (see `AttributeDistances.as_dict`) for features of a drawn style's extractor; "count" and
      "count_real"; and "protocol": everything that the numbers depend on.

    Raises:
      InputError: the features of the two sets were made differently, or a metric needs features and a set has only
        statistics.
    """
    known = {s.about["extractor"] for s in (generated, real) if "extractor" in s.about}
    for key in ("extractor", "resizing", "weights_sha256"):
        values = {str(s.about[key]) for s in (generated, real) if key in s.about}
        if len(values) > 1:
            raise InputError(f"{generated.name} and {real.name} have features with different {key}: {sorted(values)}")
    name = known.pop() if known else name
    found: dict[str, Any] = {}
    protocol: dict[str, Any] = {"generated": generated.about, "real": real.about}
    if "frechet" in metrics:
        found[extractors.metric(name)] = frechet(generated.statistics, real.statistics)
    for metric, words in (("kid", "KID"), ("prc", "precision and recall")):
        for s in (generated, real) if metric in metrics else ():
            if s.features is None:
                raise InputError(f"{s.name}: contains only statistics; {words} need the features or the images")
    if generated.features is not None and real.features is not None:
        if "kid" in metrics:
            distance = kernel.kernel_distance(generated.features, real.features, seed=seed)
            found |= {"kid": distance.mean, "kid_spread": distance.spread}
            protocol["kid"] = {"subsets": distance.subsets, "size": distance.size, "seed": seed}
        if "prc" in metrics:
            shares = neighbourhoods.precision_recall(generated.features, real.features)
            found |= {"precision": shares.precision, "recall": shares.recall}
            protocol["precision_recall"] = {"neighbours": shares.neighbours}
        if name in attributes.NAMES:
            found["attributes"] = _attributes(name, generated, real, seed)
    return {**found, "count": generated.count, "count_real": real.count, "protocol": protocol}


def _attributes(name: str, generated: Side, real: Side, seed: int) -> dict[str, Any]:
    """The attribute distances. Raises InputError if the features of a set were made with other weights than ours.

    The linear map in this package fits only features of its own weights.
    """
    assert generated.features is not None and real.features is not None
    ours = attributes.read(name).sha256
    for s in (generated, real):
        if s.about.get("weights_sha256", ours) != ours:
            raise InputError(
                f"{s.name}: its features were made with other weights of {name} than this version; make them again"
            )
    return attribute_distances.of_features(name, generated.features, real.features, seed).as_dict()


def _of_images(images: sets.ImageSet, extractor: Extractor, batch_size: int, tell: Tell) -> Side:
    if images.count < 2:
        raise InputError(f"{images.name}: holds {images.count} image; distances need at least 2")
    made = extract(images, extractor, batch_size, tell)
    return Side(images.name, made, moments(made), {**extractor.about(), **images.about()})


def moments(made: Float[np.ndarray, "n d"]) -> Statistics:
    """Mean and covariance of features."""
    return statistics(made[start : start + _BLOCK] for start in range(0, len(made), _BLOCK))
