"""The metrics of `measure`, one function for each.

They share these arguments: `model`, from `api.load`; `options`, how to measure; `extractor`, which makes features;
and `tell`, which is called after every batch. They raise DataError if an image cannot be read.
"""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import jax
import numpy as np

from hcflow_jax import api, devices
from hcflow_jax.api import samples
from hcflow_jax.api.arguments import known_denoise
from hcflow_jax.data import Source, pipeline
from hcflow_jax.data.source import Slice
from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import attribute_distances, bits_per_dim, comparison, protocols, real_features, shares
from hcflow_jax.evaluation.exactness import certificate
from hcflow_jax.evaluation.extractors import Extractor
from hcflow_jax.evaluation.features import features
from hcflow_jax.evaluation.nearest import Nearest, Neighbours, neighbours, sheet
from hcflow_jax.evaluation.protocols import Protocol

Tell = Callable[[str, int, int], object]  # what is being done, images done, number of images
SHOWN = 8  # samples on the sheet of nearest images
SCALE = 96  # approximate size of an image on the sheet, pixels


@dataclasses.dataclass(frozen=True)
class Options:
    """How the metrics are measured.

    Attributes:
      protocol: the protocol of the distances.
      sigma: the standard deviation of the samples' latents, or one for each level. None: the protocol's, else the
        value that is stored with the model, else the config's `sample.sigma`.
      seed: the seed of the samples, of KID's subsets, and of the protocol's random choices.
      images: the largest number of images for bits/dim; None: all.
      draws: the number of draws of the noise for bits/dim; None: the config's.
      batch_size: the number of images that the extractor takes at once on a device.
      nearest: the largest number of samples, and of held-out images, that are looked up among the training images.
      exact: the largest number of held-out images for the certificate of exactness.
      jacobian_dims: the certificate computes no Jacobian of a level with more dims.
      denoise: whether the samples for the distances and for "nearest" are denoised; None: the config's.
    """

    protocol: Protocol = protocols.PLAIN
    sigma: Any = None
    seed: int = 0
    images: int | None = None
    draws: int | None = None
    batch_size: int = 50
    nearest: int = 1000
    exact: int = 1000
    jacobian_dims: int = 4096
    denoise: bool | None = None

    def sigma_of(self, model: api.Model) -> Any:
        """The standard deviation of the latents of a model's samples, or one for each level."""
        given = self.protocol.sigma if self.sigma is None else self.sigma
        return model.default_sigma if given is None else given

    def denoise_of(self, model: api.Model) -> bool:
        """Whether a model's samples are denoised.

        Raises:
          InputError: denoising is wanted, but the model was trained without noise.
        """
        given = model.config.eval.denoise if self.denoise is None else self.denoise
        return known_denoise(model.config, given)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a metric.

    Attributes:
      values: plain values for JSON, with the protocol.
      lines: text for a person.
      sheet: a picture, (H, W, 3) uint8, or None.
    """

    values: dict[str, Any]
    lines: list[str]
    sheet: np.ndarray | None = None


def bits(
    model: api.Model, images: Source, count: int | None = None, draws: int | None = None, tell: Tell = lambda *a: None
) -> bits_per_dim.Bound:
    """The bound on bits/dim over a set of images, with the same noise as the evaluations of a training run.

    Args:
      model, tell: see the module.
      images: any number of images, at least one.
      count: the largest number of images to use; None: all.
      draws: the number of draws of the noise; None: the config's `eval.draws`.
    """
    unit, number = model.image_model.batch_unit, jax.process_count()
    multiple = unit * model.mesh.size
    here = max(multiple, model.batch_size // multiple * multiple)  # this process's images of a batch
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


def likelihood(model: api.Model, images: Source, options: Options, tell: Tell) -> Outcome:
    """Measures bits/dim of images, in total and by level."""
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
    return Outcome({**bound.as_dict(), "protocol": protocol}, bound.table())


def distances(
    model: api.Model,
    reals: Source,
    metrics: tuple[str, ...],
    options: Options,
    extractor: Extractor,
    tell: Tell,
) -> Outcome:
    """Measures distances between samples and real images, in one pass over the samples.

    Args:
      model, options, extractor, tell: see the module.
      reals: the protocol chooses the real images from these.
      metrics: any of `comparison.METRICS`.

    Raises:
      InputError: there are fewer real images than the protocol needs, or features are not finite.
    """
    protocol, seed, size = options.protocol, options.seed, options.batch_size
    count = protocol.count(len(reals), reals.name)
    real = real_features.real_side(
        reals, protocol, model.config, extractor, seed, size, lambda done, of: tell("features of reals", done, of)
    )
    sigma, denoise, mine = options.sigma_of(model), options.denoise_of(model), shares.part(count)
    drawn = model.sample_batches(len(mine), seed, sigma, mine.start, denoise) if mine else samples.Samples(iter(()))
    own = comparison.extract_batches(
        "the samples", len(mine), drawn, extractor, size, lambda done, of: tell("features of samples", done, of)
    )
    features, not_finite = shares.gathered(own), int(shares.gathered(np.array([drawn.not_finite])).sum())
    how = {"sigma": sigma, "seed": seed, "count": count, "dtype": model.dtype, "denoised": denoise}
    generated = comparison.Side("samples", features, comparison.moments(features), {**extractor.about(), **how})
    values = comparison.compare(generated, real, metrics, seed)
    values["protocol"] |= protocol.about(count)
    values["not_finite"] = not_finite
    if "frechet" in metrics and (floor := real_features.floor(real, count, seed)) is not None:
        values |= {f"{extractor.metric}_floor": floor["frechet"], "floor_count": floor["count"]}
    return Outcome(values, table(values, extractor.metric))


def table(values: dict[str, Any], metric: str) -> list[str]:
    """Text for a person, from the values of `distances`. `metric` is the name of the Frechet distance."""
    lines = []
    if metric in values:
        floor = values.get(f"{metric}_floor")
        beside = ""
        if floor is not None:
            beside = f"   between two halves of the reals, {values['floor_count']:,} each: {floor:.4f}"
        lines.append(f"{metric:<28}{values[metric]:.4f}{beside}")
    if "kid" in values:
        whole = values["protocol"]["kid"]["size"] == values["count"] == values["count_real"]
        spread = "of all images" if whole else f"+- {values['kid_spread']:.6f} over subsets"
        lines.append(f"{'kid':<28}{values['kid']:.6f} {spread}")
    for name in ("precision", "recall"):
        if name in values:
            lines.append(f"{name:<28}{values[name]:.4f}")
    if "attributes" in values:
        lines += attribute_distances.table(values["attributes"]).splitlines()
    if values.get("not_finite"):
        lines.append(f"{'not finite':<28}{samples.note(values['not_finite'], values['count'])}")
    protocol = values["protocol"]
    made, real = protocol["generated"], protocol["real"]
    mirrored = "mirrored at random" if real["flip"] else "not mirrored"
    prepared = f"{real['bits']} bits, noise {real['noise_std']}, {mirrored}"
    lines.append(
        f"  protocol {protocol['name']}: {values['count']:,} samples at sigma {made['sigma']}, seed {made['seed']}"
        f"{', denoised' if made['denoised'] else ''}; "
        f"{values['count_real']:,} reals of {real['images']}, {prepared}"
    )
    lines.append(
        f"  extractor {made['extractor']}, resizing {made['resizing']}, weights {made['weights_sha256'][:16]}"
    )
    return lines


def nearest(
    model: api.Model, held_out: Source, training: Source, options: Options, extractor: Extractor, tell: Tell
) -> Outcome:
    """Finds the training images that are nearest to samples (Figure 9), and measures whether the model memorises.

    Images are compared by pixels and by features.

    Args:
      model, options, extractor, tell: see the module.
      held_out: images that were not used in training.
      training: the training images. Each process searches its part of them.

    Raises:
      InputError: there are fewer than 5 training images for each process, or most of `held_out` are training images.
    """
    count = min(options.nearest, len(held_out))
    sigma, denoise = options.sigma_of(model), options.denoise_of(model)
    samples = model.sample(count, options.seed, sigma, denoise=denoise)
    others = np.stack([held_out[i] for i in range(count)])
    mine = shares.part(len(training))

    def of_images(images: np.ndarray) -> np.ndarray:
        return np.concatenate(list(features(extractor.network, extractor.weights, images, options.batch_size)))

    own = neighbours(
        samples,
        others,
        Slice(training, mine.start, mine.stop, training.name),
        mirrored=bool(model.config.data.flip),
        extractor=of_images,
        tell=lambda done: tell("nearest training images", done, len(mine)),
    )
    whole = {name: merged(each, mine.start) for name, each in own.by_distance.items()}
    found = Neighbours(whole["pixels"], whole.get("features"), len(training), own.mirrors)
    if np.median(found.pixels.held_out) == 0:
        raise InputError(
            f"{held_out.name}: most of these images are also in {training.name}, so they do not show whether the "
            "model memorises; give images that were not used in training, or leave out `nearest`"
        )
    how = {"sigma": sigma, "seed": options.seed, "samples": count, "denoised": denoise}
    protocol = {**how, "training": training.name, "held_out": held_out.name, **extractor.about()}
    picture = sheet(found, samples, training, SHOWN, max(1, SCALE // model.resolution))
    return Outcome({**found.as_dict(), "protocol": protocol}, str(found).splitlines(), picture)


def merged(own: Nearest, first: int) -> Nearest:
    """Merges the nearest images that all processes found. All processes must call this function.

    Args:
      own: the nearest images in this process's part of the set.
      first: the index in the set at which this part begins.
    """
    count = jax.process_count()

    def side_by_side(array: np.ndarray) -> np.ndarray:
        return np.concatenate(np.split(shares.gathered(array), count), 1)

    distances, k = side_by_side(own.distances), own.distances.shape[1]
    order = np.argsort(distances, 1, kind="stable")[:, :k]
    parts = (side_by_side(own.places + first), side_by_side(own.mirrored), distances)
    places, mirrored, nearest_first = (np.take_along_axis(part, order, 1) for part in parts)
    return Nearest(places, mirrored, nearest_first, side_by_side(own.held_out[:, None]).min(1))


def exactness(model: api.Model, images: Source, options: Options, tell: Tell) -> Outcome:
    """Measures the certificate of exactness: the model inverts exactly, and its log-determinants are right."""
    count = min(options.exact, len(images))
    mine = shares.part(count)

    def batches() -> Iterator[np.ndarray]:
        for places in shares.batches(mine, model.batch_size):
            yield np.stack([images[i] for i in places])

    found = certificate(
        model,
        batches(),
        jacobian_dims=options.jacobian_dims,
        tell=lambda what, done, of: tell(what, done, of or len(mine)),
    )
    return Outcome({**found.as_dict(), "protocol": {"images": images.name, "count": count}}, str(found).splitlines())
