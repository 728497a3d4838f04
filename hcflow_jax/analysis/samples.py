"""Samples of several models with the same seeds, for comparison (Figures 1, 4, 10 and 11)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hcflow_jax import api, pictures
from hcflow_jax.analysis.measured import Tell
from hcflow_jax.api.arguments import Sigma, whole
from hcflow_jax.errors import InputError
from hcflow_jax.pictures import Block, Sheet


@dataclasses.dataclass(frozen=True)
class Samples:
    """Samples of one or more models.

    Attributes:
      images: name of the model -> images (n, R, R, 3) uint8. n is the same for all models.
      labels: n labels. A label is the seed of an image, or its number: `Model.sample` makes the image again from it.
      chosen: True: each image has a seed of its own, from a list. False: the images are the first n of one seed.
      protocol: how the images were drawn, as plain values: the seeds, each model's sigma, and whether they are
        denoised.
    """

    images: Mapping[str, UInt8[np.ndarray, "n R R 3"]]
    labels: Sequence[str]
    chosen: bool
    protocol: dict[str, Any]


def draw(
    models: Mapping[str, api.Model],
    count: int = 16,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    sigma: Sigma | None = None,
    sigmas: Mapping[str, Sigma] | None = None,
    denoise: bool = False,
    tell: Tell = lambda *news: None,
) -> Samples:
    """Draws samples from several models with the same seeds.

    Args:
      models: name -> model, of any families and resolutions.
      count: the number of images: the first ones of `seed`, without selection. Ignored if `seeds` are given.
      seed: the seed of these images.
      seeds: draw the first image of each of these seeds instead. `hcflow interpolate` calls these images `seed:N`.
      sigma: the std of the latents, one number or one for each level, as in `Model.sample`; None: each model's own.
      sigmas: name of the model -> sigma; it replaces `sigma`.
      denoise: as in `Model.sample`.
      tell: is called with "samples", the images done, and the number of images of all models.

    Raises:
      InputError: there is no model, `sigmas` names an unknown model, or an argument of `Model.sample` is not allowed.
    """
    wanted = dict(sigmas or {})
    if not models or not set(wanted) <= set(models):
        raise InputError(f"models are {list(models)} and sigmas of {list(wanted)}: expected at least one model")
    chosen = seeds is not None
    each = list(seeds) if seeds is not None else []
    number = len(each) if chosen else whole("count", count, 1)
    if not number:
        raise InputError("seeds is empty: give at least one seed, or None")
    found: dict[str, np.ndarray] = {}
    for name, model in models.items():
        own, before = wanted.get(name, sigma), len(found) * number
        if chosen:
            parts = []
            for one in each:
                parts.append(model.sample(1, seed=one, sigma=own, denoise=denoise))
                tell("samples", before + len(parts), len(models) * number)
            found[name] = np.concatenate(parts)
        else:

            def told(done: int, of: int, before: int = before) -> None:
                tell("samples", before + done, len(models) * of)

            found[name] = model.sample(number, seed=seed, sigma=own, denoise=denoise, progress=told)
    used = {name: _sigma(model, wanted.get(name, sigma)) for name, model in models.items()}
    numbers = {"seeds": [int(one) for one in each]} if chosen else {"seed": int(seed), "count": number}
    labels = [f"seed {one}" for one in each] if chosen else [str(i) for i in range(number)]
    return Samples(found, labels, chosen, {**numbers, "sigma": used, "denoised": bool(denoise)})


def sheet(samples: Samples, columns: int = 8) -> Sheet:
    """A sheet of the samples.

    With chosen seeds, there is a row for each model, and the seed is above each column. Otherwise there is a block
    for each model, and each row is labelled with the numbers of its first and last image.

    Args:
      samples: from `draw`.
      columns: the number of images in a row. The last row may be shorter.

    Raises:
      InputError: `columns` is not allowed.
    """
    columns = whole("columns", columns, 1)
    sizes = pictures.scales([images.shape[1] for images in samples.images.values()])
    factors = dict(zip(samples.images, sizes, strict=True))
    starts = range(0, len(samples.labels), columns)
    if samples.chosen:
        shown = {
            name: images.repeat(factors[name], 1).repeat(factors[name], 2) for name, images in samples.images.items()
        }
        return pictures.blocks(
            [
                Block(
                    "",
                    [(name, images[start : start + columns]) for name, images in shown.items()],
                    samples.labels[start : start + columns],
                )
                for start in starts
            ]
        )
    parts = []
    for name, images in samples.images.items():
        rows = [(_span(samples.labels[i : i + columns]), images[i : i + columns]) for i in starts]
        about = f"{name}: seed {samples.protocol['seed']}, sigma {_said(samples.protocol['sigma'][name])}"
        parts.append(Block(about, rows, scale=factors[name]))
    return pictures.blocks(parts)


def _sigma(model: api.Model, sigma: Sigma | None) -> Any:
    """The std that `Model.sample` used, as a plain value."""
    given = model.default_sigma if sigma is None else sigma
    return {name: float(value) for name, value in given.items()} if isinstance(given, Mapping) else float(given)


def _said(sigma: Any) -> str:
    if isinstance(sigma, dict):
        return ", ".join(f"{name}={value:.3g}" for name, value in sigma.items())
    return f"{sigma:.3g}"


def _span(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{labels[0]} - {labels[-1]}"
