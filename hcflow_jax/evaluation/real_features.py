"""Features of real images: computed once, and cached for later evaluations.

The key of the cache is a digest of everything that the features depend on: the images, how they were prepared, the
extractor and its weights. KEY.npy contains the features. KEY.npz contains their statistics (`mu`, `sigma`), which
other evaluators can read, with the count and the protocol.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict

from hcflow_jax import environment, files, likelihood
from hcflow_jax.data import Source, identity, preprocessing, several
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import comparison, references, shares
from hcflow_jax.evaluation.comparison import Side, Tell
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.frechet import frechet
from hcflow_jax.evaluation.protocols import Protocol

_READ = 256  # images read at once
_log = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """The folder of the cache; None if the user has no home folder."""
    cache = environment.user_cache()
    return None if cache is None else cache / "hcflow_jax" / "features"


def real_side(
    source: Source,
    protocol: Protocol,
    config: ConfigDict,
    extractor: Extractor,
    seed: int = 0,
    batch_size: int = 50,
    tell: Tell = lambda done, of: None,
) -> Side:
    """The features and statistics of the real images of a distance, from the cache or computed.

    All processes must call this function. Each computes a part of the features, and all get the whole.

    Args:
      source: the images.
      protocol: which images are used, and how they are prepared.
      config: the config of the model; `data` defines the training augmentations.
      extractor: makes the features.
      seed: the seed of the choice of images, of the noise and of the mirroring.
      batch_size: the number of images that a device takes at once.
      tell: is called after every batch, with the images done and their number.

    Raises:
      InputError: there are too few images, or features are not finite.
      DataError: an image cannot be read.
    """
    places = chosen(source, protocol, seed)
    about = {**extractor.about(), **prepared_as(protocol, config, seed), "images": source.name, "count": len(places)}
    known = {**about, "images": identity.with_pixels(source, places), "reals": protocol.reals}
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]
    features = _kept(key, len(places), extractor.dims)
    if features is None:
        mine = shares.part(len(places))
        images = prepared(source, places[mine.start : mine.stop], protocol, config, seed)
        own = comparison.extract_batches(source.name, len(mine), images, extractor, batch_size, tell)
        features = shares.gathered(own)
        _keep(key, features, about)
    return Side(source.name, features, comparison.moments(features), about)


def chosen(source: Source, protocol: Protocol, seed: int) -> Int[np.ndarray, " n"]:
    """The indices of the real images that a protocol uses.

    Raises:
      InputError: there are too few images.
    """
    protocol.count(len(source), source.name)
    places = protocol.places(len(source), seed)
    if len(places) < 2:
        raise InputError(
            f"{source.name}: {len(places)} of its {len(source):,} images is used; distances need at least 2"
        )
    return places


def prepared_as(protocol: Protocol, config: ConfigDict, seed: int) -> dict[str, Any]:
    """How real images are prepared, as plain values: "noise_std", "bits", "flip" and, if it matters, "seed"."""
    data = config.data
    about: dict[str, Any] = {"noise_std": 0.0, "bits": 8, "flip": False}
    if protocol.noise:
        about |= {"noise_std": data.noise_std, "bits": data.bits}
    if protocol.flip:
        about["flip"] = bool(data.flip)
    random = protocol.noise or protocol.flip or protocol.reals == "random"
    return about | ({"seed": seed} if random else {})


def prepared(
    source: Source, places: np.ndarray, protocol: Protocol, config: ConfigDict, seed: int
) -> Iterator[UInt8[np.ndarray, "b R R 3"]]:
    """Prepares images as the protocol says, batch by batch.

    Args:
      source: the images.
      places: the indices of the images to prepare, (n,).
      protocol: how they are prepared.
      config: the config of the model; `data` defines the training augmentations.
      seed: the seed of the noise and of the mirroring. The draws for an image depend only on it and on its index.
    """
    data = config.data
    flip = protocol.flip and data.flip

    @jax.jit
    def augmented(images: Any, indices: Any) -> Any:
        keys = likelihood.evaluation_keys(seed, indices)
        x = preprocessing.augment(keys, images, bits=data.bits, noise_std=data.noise_std, flip=flip)
        return preprocessing.to_uint8(x)

    for start in range(0, len(places), _READ):
        batch = places[start : start + _READ]
        images = np.stack(list(several(source, batch.tolist())))
        if protocol.noise:
            short = _READ - len(batch)
            padded = np.concatenate([images, np.zeros((short, *images.shape[1:]), np.uint8)])
            indices = np.concatenate([batch, np.zeros(short, batch.dtype)]).astype(np.int32)
            images = np.asarray(augmented(padded, indices))[: len(batch)]
        yield images


def _kept(key: str, count: int, dims: int) -> Float[np.ndarray, "n d"] | None:
    """Features from the cache. None: some process does not find them, so all processes get None."""
    folder = cache_folder()
    found = None
    if folder is not None and (folder / f"{key}.npy").is_file():
        try:
            found = references.read(folder / f"{key}.npy").features
        except InputError as error:
            _log.warning("%s; the features are computed again", error)
    good = found is not None and found.shape == (count, dims)
    if int(shares.gathered(np.array([good])).sum()) < jax.process_count():
        return None
    return found


def _keep(key: str, features: Float[np.ndarray, "n d"], about: Mapping[str, Any]) -> None:
    """Writes features and statistics to the cache. If the disk is full or read-only, only a warning is logged."""
    folder = cache_folder()
    if folder is None or jax.process_index() > 0:
        return
    text = json.dumps(about, indent=1, sort_keys=True).encode() + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        references.write_statistics(folder / f"{key}.npz", comparison.moments(features), about)
        files.write(references.about_file(folder / f"{key}.npy"), lambda file: file.write(text))
        files.write(folder / f"{key}.npy", lambda file: np.save(file, features))
    except OSError as error:
        reason = error.strerror or error
        _log.warning(
            "the features of the real images could not be kept for the next evaluation: %s (%s)", folder, reason
        )


def floor(side: Side, count: int, seed: int = 0) -> dict[str, Any] | None:
    """The Frechet distance between two disjoint random sets of real images: a perfect model's distance at that count.

    Args:
      side: the real images.
      count: the number of images in each set. If there are fewer than 2 * count images, each set is half of them.
      seed: the seed of the random choice.

    Returns:
      {"frechet", "count"}; None if there are no features, or fewer than 4.
    """
    if side.features is None or len(side.features) < 4:
        return None
    size = min(count, len(side.features) // 2)
    order = np.random.default_rng(seed).permutation(len(side.features))
    halves = [comparison.moments(side.features[np.sort(order[i * size : (i + 1) * size])]) for i in (0, 1)]
    return {"frechet": frechet(*halves), "count": size}
