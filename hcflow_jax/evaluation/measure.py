"""All that is measured of a model, by the names of the metrics: what `hcflow evaluate` and a run do.

bits        bits/dim of images, in all and by level
fid         Frechet distance between samples and images; "FID" if the features are Inception's
kid         kernel distance
prc         precision and recall

The distances share one pass over the samples. All devices share the work, and so do processes, see `shares`.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import jax
from ml_collections import ConfigDict

from hcflow_jax import api, devices
from hcflow_jax.config.fields import need
from hcflow_jax.data import Source, pipeline
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import bits_per_dim, comparison, extractors, protocols, real_features, shares
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.protocols import Protocol

DISTANCES = {"fid": "frechet", "kid": "kid", "prc": "prc"}  # and their names in `comparison`
METRICS = ("bits", *DISTANCES)

Tell = Callable[[str, int, int], object]  # what is done, images done, of how many


def check_metrics(names: tuple[str, ...]) -> None:
    """Refuses names that are no metric.

    Raises:
      InputError: naming it and those that there are.
    """
    for name in names:
        if name not in METRICS:
            raise InputError(f"{name!r} is no metric; there are {', '.join(METRICS)}")


@dataclasses.dataclass(frozen=True)
class Options:
    """How the metrics are measured.

    Attributes:
      protocol: of the distances.
      sigma: standard deviation of the samples' latents, or one by level; None: the protocol's, else the config's.
      seed: of the samples, of KID's subsets, and of what a protocol draws.
      images: most images that bits/dim is the mean of; None: all.
      draws: of the noise for bits/dim; None: the config's.
      batch_size: images that the extractor takes at once on a device.
    """

    protocol: Protocol = protocols.PLAIN
    sigma: Any = None
    seed: int = 0
    images: int | None = None
    draws: int | None = None
    batch_size: int = 50

    def sigma_of(self, model: api.Model) -> Any:
        """The standard deviation of a model's samples."""
        given = self.protocol.sigma if self.sigma is None else self.sigma
        return float(model.config.sample.sigma) if given is None else given


def wanted(config: ConfigDict) -> tuple[tuple[str, ...], Options, Callable[[], Extractor]]:
    """The metrics that a config asks for, how they are measured, and what makes their extractor.

    Raises:
      ConfigError: `eval.metrics` names no metric, or the config cannot be met.
    """
    given = config.eval
    names = tuple(name.strip() for name in given.metrics.split(","))
    for name in names:
        need("eval.metrics", name in METRICS, f"be some of {', '.join(METRICS)}, with commas between", given.metrics)
    need("eval.samples", given.samples != 1, "be 0, or 2 or more", given.samples)
    protocol = protocols.with_samples(protocols.PRESETS[given.protocol], given.samples or None)
    options = Options(protocol=protocol, images=given.images, draws=given.draws)
    return names, options, lambda: extractors.load(given.extractor or None, given.weights or None)


@dataclasses.dataclass
class Measured:
    """What came out.

    Attributes:
      values: plain values by metric, for JSON.
      lines: the same for a person.
      seconds: by metric.
    """

    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    lines: list[str] = dataclasses.field(default_factory=list)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Counts the seconds of a metric."""
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 2)


def measure(
    model: api.Model,
    images: Source,
    metrics: tuple[str, ...],
    options: Options | None = None,
    *,
    extractor: Callable[[], Extractor],
    reals: Callable[[], Source] | None = None,
    tell: Tell = lambda what, done, of: None,
) -> Measured:
    """Measures a model. All processes have to call it; all get the same result.

    Args:
      model: from `api.load`, with the devices of this process.
      images: what bits/dim is measured on; held out, as a rule.
      metrics: of `METRICS`.
      options: how.
      extractor: makes the extractor of the distances; called only where there are some.
      reals: opens the real images of the distances; None: `images`.
      tell: is called as work is done.

    Raises:
      InputError: a metric, or what it needs, is not there; the message says which.
      DataError: images cannot be read.
    """
    check_metrics(metrics)
    options, found = options or Options(), Measured()
    if "bits" in metrics:
        with found.timed("bits"):
            _bits(found, model, images, options, tell)
    distances = tuple(DISTANCES[name] for name in DISTANCES if name in metrics)
    if distances:
        with found.timed("distances"):
            _distances(found, model, (reals or (lambda: images))(), distances, options, extractor(), tell)
    return found


def bits(
    model: api.Model, images: Source, count: int | None = None, draws: int | None = None, tell: Tell = lambda *a: None
) -> bits_per_dim.Bound:
    """The bound over a set of images, with noise drawn as a run's evaluations draw it.

    Args:
      model: from `api.load`.
      images: any number of them.
      count: how many of them, at most; None: all.
      draws: of the noise; None: the config's `eval.draws`.
      tell: is called as images are done.
    """
    unit, number = model.image_model.batch_unit, jax.process_count()
    multiple = unit * model.mesh.size
    here = max(multiple, model.batch_size // multiple * multiple)  # images of a batch in this process
    config = model.config.copy_and_resolve_references()
    most = len(images) if count is None else min(count, len(images))
    with config.unlocked():
        config.eval.images, config.eval.batch_size = most, here * number
    where = devices.split(model.mesh)

    def told(batches: Any) -> Iterator[Any]:
        for i, batch in enumerate(batches, 1):
            yield {**batch, "images": devices.place(where, batch["images"])}
            tell("bits/dim", min(most, i * here * number), most)

    read = pipeline.eval_batches(config, jax.process_index(), number, batch_unit=unit, source=images)
    with closing(read) as batches:
        wanted = draws or config.eval.draws
        values = bits_per_dim.image_values(model.prepared, told(batches), model.batch_bound, wanted)
    return bits_per_dim.summary(model.image_model, {name: shares.gathered(v) for name, v in values.items()})


def _bits(found: Measured, model: api.Model, images: Source, options: Options, tell: Tell) -> None:
    bound, data = bits(model, images, options.images, options.draws, tell), model.config.data
    protocol = {
        "likelihood": model.image_model.likelihood,
        "images": images.name,
        "bits": data.bits,
        "noise_std": data.noise_std,
        "flip": False,
        "seed": model.config.eval.seed,
        "unit": "bits per dimension of the image (3 R^2 dimensions)",
    }
    found.values["bits"] = {**bound.as_dict(), "protocol": protocol}
    found.lines += bound.table()


def _distances(
    found: Measured,
    model: api.Model,
    reals: Source,
    metrics: tuple[str, ...],
    options: Options,
    extractor: Extractor,
    tell: Tell,
) -> None:
    protocol, seed, size = options.protocol, options.seed, options.batch_size
    count = protocol.count(len(reals), reals.name)
    real = real_features.real_side(
        reals, protocol, model.config, extractor, seed, size, lambda done, of: tell("features of reals", done, of)
    )
    sigma, mine = options.sigma_of(model), shares.part(count)
    drawn = model.sample_batches(len(mine), seed, sigma, mine.start) if mine else ()
    own = comparison.extract_batches(
        "the samples", len(mine), drawn, extractor, size, lambda done, of: tell("features of samples", done, of)
    )
    features = shares.gathered(own)
    how = {"sigma": sigma, "seed": seed, "count": count, "dtype": model.dtype}
    generated = comparison.Side("samples", features, comparison.moments(features), {**extractor.about(), **how})
    values = comparison.compare(generated, real, metrics, seed)
    values["protocol"] |= protocol.about()
    if "frechet" in metrics and (floor := real_features.floor(real, count, seed)) is not None:
        values |= {f"{extractor.metric}_floor": floor["frechet"], "floor_count": floor["count"]}
    found.values["distances"] = values
    found.lines += table(values, extractor.metric)


def table(values: dict[str, Any], metric: str) -> list[str]:
    """Distances for a person, a line each."""
    lines = []
    if metric in values:
        floor = values.get(f"{metric}_floor")
        beside = (
            ""
            if floor is None
            else f"   between two halves of the reals, {values['floor_count']:,} each: {floor:.4f}"
        )
        lines.append(f"{metric:<28}{values[metric]:.4f}{beside}")
    if "kid" in values:
        lines.append(f"{'kid':<28}{values['kid']:.6f} +- {values['kid_spread']:.6f} over subsets")
    for name in ("precision", "recall"):
        if name in values:
            lines.append(f"{name:<28}{values[name]:.4f}")
    protocol = values["protocol"]
    made, real = protocol["generated"], protocol["real"]
    prepared = (
        f"{real['bits']} bits, noise {real['noise_std']}, {'mirrored at random' if real['flip'] else 'not mirrored'}"
    )
    lines.append(
        f"  protocol {protocol['name']}: {values['count']:,} samples at sigma {made['sigma']}, seed {made['seed']}; "
        f"{values['count_real']:,} reals of {real['images']}, {prepared}"
    )
    lines.append(
        f"  extractor {made['extractor']}, resizing {made['resizing']}, weights {made['weights_sha256'][:16]}"
    )
    return lines
