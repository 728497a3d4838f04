"""Measures a model by metrics. The command `hcflow evaluate` and the evaluations of a training run use this module.

bits        bits/dim of images, in total and by level
fid         Frechet distance between samples and images; called "FID" if the features are Inception's
kid         kernel distance
prc         precision and recall
nearest     the training images nearest to samples (Figure 9), and whether the model memorises
exactness   a certificate: the model inverts exactly, and its log-determinants are right

The distances share one pass over the samples. All devices share the work, and so do all processes (see `shares`).
"""

import dataclasses
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from hcflow_jax import api
from hcflow_jax.config.fields import need
from hcflow_jax.data import Source, open_source
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import extractors, metrics, protocols, real_features, shares
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.metrics import Options, Tell
from hcflow_jax.evaluation.nearest import NEIGHBOURS

DISTANCES = {"fid": "frechet", "kid": "kid", "prc": "prc"}  # metric -> its name in `comparison`
METRICS = ("bits", *DISTANCES, "nearest", "exactness")


def check_metrics(names: tuple[str, ...]) -> None:
    """Checks the names of metrics.

    Raises:
      InputError: a name is not one of `METRICS`; the message lists them.
    """
    for name in names:
        if name not in METRICS:
            raise InputError(f"{name!r} is not a metric; the metrics are {', '.join(METRICS)}")


def wanted(config: ConfigDict) -> tuple[tuple[str, ...], Options, Callable[[], Extractor]]:
    """Reads from a config what to measure.

    Returns:
      The names of the metrics, how they are measured, and a function that loads their extractor.

    Raises:
      ConfigError: `eval.metrics` contains an unknown metric, or another field of `eval` is not allowed.
    """
    given = config.eval
    names = tuple(name.strip() for name in given.metrics.split(","))
    for name in names:
        need("eval.metrics", name in METRICS, f"be some of {', '.join(METRICS)}, with commas between", given.metrics)
    noisy = not given.denoise or config.data.noise_std > 0
    need("eval.denoise", noisy, "be False where data.noise_std is 0", given.denoise)
    need("eval.samples", given.samples != 1, "be 0, or 2 or more", given.samples)
    protocol = protocols.with_samples(protocols.PRESETS[given.protocol], given.samples or None)
    options = Options(protocol=protocol, images=given.images, draws=given.draws)
    return names, options, lambda: extractors.load(given.extractor or None, given.weights or None)


@dataclasses.dataclass
class Measured:
    """The results of a measurement.

    Attributes:
      values: plain values for JSON, by metric. "distances" contains those of fid, kid and prc.
      lines: the same as text for a person.
      sheets: pictures by metric, (H, W, 3) uint8.
      seconds: the duration by metric, in seconds.
    """

    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    lines: list[str] = dataclasses.field(default_factory=list)
    sheets: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def take(self, name: str, outcome: Callable[[], metrics.Outcome]) -> metrics.Outcome:
        """Measures a metric, adds its results, and returns them. `outcome` is called once."""
        start = time.monotonic()
        made = outcome()
        self.seconds[name] = round(time.monotonic() - start, 2)
        self.values[name] = made.values
        self.lines += made.lines
        if made.sheet is not None:
            self.sheets[name] = made.sheet
        return made


def measure(
    model: api.Model,
    images: Source,
    names: tuple[str, ...],
    options: Options | None = None,
    *,
    extractor: Callable[[], Extractor],
    reals: Callable[[], Source] | None = None,
    training: Callable[[], Source] | None = None,
    tell: Tell = lambda what, done, of: None,
    finished: Callable[[str, metrics.Outcome], object] = lambda name, outcome: None,
) -> Measured:
    """Measures a model. All processes must call this function, and all get the same result.

    Args:
      model: from `api.load`, with the devices of this process.
      images: the images for bits/dim and exactness, and the held-out images for "nearest".
      names: any of `METRICS`.
      options: how to measure; None: the defaults of `Options`.
      extractor: loads the extractor. It is called only if a distance or "nearest" is measured.
      reals: opens the real images of the distances; None: `images`.
      training: opens the training images, for "nearest"; None: those of the model's config.
      tell: is called after every batch, with what is done, the images done, and the number of images.
      finished: is called after every metric ("distances" for fid, kid and prc), with its name and its results.

    Raises:
      InputError: a metric is unknown, or something that it needs is missing; the message names it.
      DataError: images cannot be read.
    """
    check_metrics(names)
    options, found, network = options or Options(), Measured(), cache(extractor)
    distances = tuple(DISTANCES[name] for name in DISTANCES if name in names)
    real = trained_on = images
    # What is missing is found here, before any work is done.
    if distances or "nearest" in names:
        options.denoise_of(model)
        network()
    if distances:
        real = images if reals is None else reals()
        real_features.chosen(real, options.protocol, options.seed)
    if "nearest" in names:
        trained_on = open_source(model.config, "train") if training is None else training()
        _check_training(trained_on)

    def take(name: str, outcome: Callable[[], metrics.Outcome]) -> None:
        finished(name, found.take(name, outcome))

    if "bits" in names:
        take("bits", lambda: metrics.likelihood(model, images, options, tell))
    if distances:
        take("distances", lambda: metrics.distances(model, real, distances, options, network(), tell))
    if "nearest" in names:
        take("nearest", lambda: metrics.nearest(model, images, trained_on, options, network(), tell))
    if "exactness" in names:
        take("exactness", lambda: metrics.exactness(model, images, options, tell))
    return found


def _check_training(training: Source) -> None:
    """Raises InputError if there are too few training images for `nearest`."""
    if shares.smallest(len(training)) < NEIGHBOURS:
        raise InputError(
            f"{training.name}: holds {len(training):,} images, and `nearest` needs at least {NEIGHBOURS} for each "
            "process; give more training images, or leave out `nearest`"
        )
