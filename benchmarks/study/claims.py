"""What the paper claims of its model besides distances, as numbers: aliasing, the effect of each level, midpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hcflow_jax import api
from hcflow_jax.analysis import midpoints, spectrum, variation
from hcflow_jax.data import open_source
from hcflow_jax.data.source import Slice
from hcflow_jax.evaluation import extractors, protocols, real_features
from hcflow_jax.evaluation.protocols import Protocol

VARIED = 32  # held-out images whose levels are resampled
BETWEEN = 2_000  # held-out images between which midpoints are taken; they are compared with the other ones
SPECTRA = 5_000  # images of a spectrum
# A model learns images with the training noise, and its samples have it; so have the reals of the spectrum.
NOISY = Protocol("noisy", SPECTRA, reals="first", split="eval", noise=True)


def measure(model: api.Model, samples: Any, tell: Callable[[str], object] = print) -> dict[str, Any]:
    """The numbers of a trained model.

    Args:
      model: from `api.load`.
      samples: uint8 (n, R, R, 3), drawn at the study's sigma.
      tell: is given a line for each.

    Returns:
      {"spectrum": {"samples", "reals"}, "variation", "midpoints": {"linear", "spherical"}}: plain values.
    """
    config = model.config
    held_out = open_source(config, "eval")
    noisy = real_features.prepared(held_out, np.arange(SPECTRA), NOISY, config, 0)
    spectra = {"samples": spectrum.spectrum(samples[:SPECTRA]), "reals": spectrum.spectrum(noisy)}
    tell("\n".join(spectrum.table(spectra, reals="reals")))
    images = np.stack([held_out[i] for i in range(VARIED)])
    varied = variation.variation(model, model.encode(images))
    tell("\n".join(varied.table()))
    extractor = extractors.load(config.eval.extractor, None)
    ends = Slice(held_out, 0, BETWEEN, "held out, the first")
    others = Slice(held_out, BETWEEN, len(held_out), "held out, the others")
    reals = real_features.real_side(others, protocols.PLAIN, config, extractor)
    between = {how: midpoints.of_images(model, ends, reals, extractor, how=how) for how in ("linear", "spherical")}
    for found in between.values():
        tell("\n".join(found.table()))
    return {
        "spectrum": {name: {**each.as_dict(), "decibel": _decibel(each)} for name, each in spectra.items()},
        "variation": varied.as_dict(),
        "midpoints": {how: found.as_dict() for how, found in between.items()},
    }


def _decibel(each: spectrum.Spectrum) -> list[float]:
    return [round(float(value), 3) for value in each.decibel()[1:]]


def of_workdir(workdir: Path, tell: Callable[[str], object] = print) -> dict[str, Any]:
    """The numbers of a run whose samples were kept."""
    with np.load(workdir / "samples.npz") as kept:
        samples = kept["arr_0"]
    return measure(api.load(workdir), samples, tell)
