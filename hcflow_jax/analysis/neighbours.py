"""Samples of a model with their nearest training images (Figure 9)."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hcflow_jax import api, pictures
from hcflow_jax.analysis.measured import Tell
from hcflow_jax.api.arguments import Sigma, whole
from hcflow_jax.data import Source, open_source
from hcflow_jax.evaluation import nearest
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.features import features
from hcflow_jax.pictures import Sheet


@dataclasses.dataclass(frozen=True)
class SampleNeighbours:
    """Samples with their nearest training images.

    Attributes:
      samples: (n, R, R, 3) uint8.
      found: the places and distances of the nearest images. It prints as a table.
      training: the training set.
    """

    samples: UInt8[np.ndarray, "n R R 3"]
    found: nearest.Neighbours
    training: Source

    def sheet(self, shown: int = 8) -> Sheet:
        """A sheet of samples. After each sample come its nearest training images, nearest first.

        Args:
          shown: the number of samples on the sheet: the first ones.
        """
        (scale,) = pictures.scales([self.samples.shape[1]])
        return nearest.sheet(self.found, self.samples, self.training, shown, scale)

    def rows(self) -> list[dict[str, Any]]:
        """Rows for CSV, one for each neighbour of each sample: its index in the training set, and its distance."""
        return [
            {
                "sample": i,
                "by": name,
                "rank": k + 1,
                "training_image": int(each.places[i, k]),
                "mirrored": bool(each.mirrored[i, k]),
                "distance": float(each.distances[i, k]),
            }
            for name, each in self.found.by_distance.items()
            for i, k in np.ndindex(each.places.shape)
        ]


def neighbours(
    model: api.Model,
    count: int = 200,
    k: int = 5,
    seed: int = 0,
    sigma: Sigma | None = None,
    extractor: Extractor | None = None,
    batch_size: int = 50,
    tell: Tell = lambda *news: None,
) -> SampleNeighbours:
    """Searches the whole training set of a model for the images that are nearest to its samples.

    The same number of held-out images is looked up too, because the distances of samples are compared with theirs.

    Args:
      model: from `api.load`. Its config gives the training data, and whether mirror images count.
      count: the number of samples, and of held-out images.
      k: the number of neighbours of each.
      seed, sigma: for the samples, as in `Model.sample`.
      extractor: makes features by which images are compared, in addition to pixels. None: only by pixels.
      batch_size: the number of images that the extractor takes at once on a device.
      tell: is called with "nearest training images", the training images done, and their number.

    Raises:
      InputError: an argument is not allowed, or the training set has fewer than k images.
      DataError: the data of the config cannot be read.
    """
    count, k = whole("count", count, 1), whole("k", k, 1)
    training = open_source(model.config, "train")
    others = api.held_out(model.config, count)
    samples = model.sample(count, seed=seed, sigma=sigma)

    def of_images(images: np.ndarray) -> np.ndarray:
        assert extractor is not None
        return np.concatenate(list(features(extractor.network, extractor.weights, images, batch_size)))

    found = nearest.neighbours(
        samples,
        others,
        training,
        k=k,
        mirrored=bool(model.config.data.flip),
        extractor=None if extractor is None else of_images,
        tell=lambda done: tell("nearest training images", done, len(training)),
    )
    return SampleNeighbours(samples, found, training)
