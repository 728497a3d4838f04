"""All that is measured of a model, by the names of the metrics: what `hcflow evaluate` and a run do.

bits        bits/dim of images, in all and by level
fid         Frechet distance between samples and images; "FID" if the features are Inception's
kid         kernel distance
prc         precision and recall
nearest     the training images nearest to samples (Figure 9), and whether the model memorises
exactness   a certificate: the model inverts exactly, and its log-determinants are right

The distances share one pass over the samples. All devices share the work, and so do processes, see `shares`.
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
from hcflow_jax.evaluation import extractors, metrics, protocols
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.metrics import Options, Tell

DISTANCES = {"fid": "frechet", "kid": "kid", "prc": "prc"}  # and their names in `comparison`
METRICS = ("bits", *DISTANCES, "nearest", "exactness")


def check_metrics(names: tuple[str, ...]) -> None:
    """Refuses names that are no metric.

    Raises:
      InputError: naming it and those that there are.
    """
    for name in names:
        if name not in METRICS:
            raise InputError(f"{name!r} is not a metric; the metrics are {', '.join(METRICS)}")


def wanted(config: ConfigDict) -> tuple[tuple[str, ...], Options, Callable[[], Extractor]]:
    """The metrics that a config asks for, how they are measured, and what makes their extractor.

    Raises:
      ConfigError: `eval.metrics` names no metric, or the config cannot be met.
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
    """What came out.

    Attributes:
      values: plain values by metric ("distances" for fid, kid and prc), for JSON.
      lines: the same for a person.
      sheets: pictures by metric, (H, W, 3) uint8.
      seconds: by metric.
    """

    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    lines: list[str] = dataclasses.field(default_factory=list)
    sheets: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def take(self, name: str, outcome: Callable[[], metrics.Outcome]) -> None:
        """Measures a metric and keeps what comes out."""
        start = time.monotonic()
        made = outcome()
        self.seconds[name] = round(time.monotonic() - start, 2)
        self.values[name] = made.values
        self.lines += made.lines
        if made.sheet is not None:
            self.sheets[name] = made.sheet


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
) -> Measured:
    """Measures a model. All processes have to call it; all get the same result.

    Args:
      model: from `api.load`, with the devices of this process.
      images: what bits/dim and exactness are measured on; held out, as a rule.
      names: any of `METRICS`.
      options: how.
      extractor: makes the extractor of the distances and of the nearest images; called only where there are some.
      reals: opens the real images of the distances; None: `images`.
      training: opens the training images, for "nearest"; None: those of the model's config.
      tell: is called as work is done.

    Raises:
      InputError: a metric, or what it needs, is not there; the message says which.
      DataError: images cannot be read.
    """
    check_metrics(names)
    options, found, network = options or Options(), Measured(), cache(extractor)
    distances = tuple(DISTANCES[name] for name in DISTANCES if name in names)
    if distances or "nearest" in names:
        options.denoise_of(model)  # refuses before any work
    if "bits" in names:
        found.take("bits", lambda: metrics.likelihood(model, images, options, tell))
    if distances:
        real = images if reals is None else reals()
        found.take("distances", lambda: metrics.distances(model, real, distances, options, network(), tell))
    if "nearest" in names:
        trained_on = open_source(model.config, "train") if training is None else training()
        found.take("nearest", lambda: metrics.nearest(model, images, trained_on, options, network(), tell))
    if "exactness" in names:
        found.take("exactness", lambda: metrics.exactness(model, images, options, tell))
    return found
