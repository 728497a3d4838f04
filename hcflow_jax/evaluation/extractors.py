"""Feature extractors by name. An extractor is a network, its weights, and the way images are resized for it."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Array, Float, UInt8

from hcflow_jax.errors import InputError
from hcflow_jax.evaluation import attributes, efficientnet, inception, inception_weights

INCEPTION, EFFICIENTNET = "inception", "efficientnet-lite0"
NAMES = (INCEPTION, EFFICIENTNET, *attributes.NAMES)
TF1, PYTORCH_FID, CLEAN_FID = "tf1", "pytorch-fid", "clean-fid"

Network = Callable[[Any, UInt8[Array, "b R R 3"]], Float[Array, "b d"]]
NETWORKS: dict[str, Network] = {  # Inception, by the way images are resized for it
    TF1: inception.features,
    PYTORCH_FID: inception.features_of_pytorch_fid,
    CLEAN_FID: inception.features_of_clean_fid,
}
PROTOCOLS = tuple(NETWORKS)


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A network with its weights.

    Attributes:
      name: one of `NAMES`.
      dims: d, the length of a feature.
      network: a function (weights, images) -> features that JAX can trace.
      weights: arrays by name.
      resizing: how images are resized to the network's size: one of `PROTOCOLS` for Inception, "bilinear" for
        EfficientNet-Lite0, "area" for the networks of drawn styles.
      sha256: the SHA-256 of the file of weights.
    """

    name: str
    dims: int
    network: Network
    weights: Mapping[str, Any]
    resizing: str
    sha256: str

    @property
    def metric(self) -> str:
        """The name of a Frechet distance of these features, see `metric`."""
        return metric(self.name)

    def about(self) -> dict[str, Any]:
        """What the features depend on in addition to the images, as plain values."""
        return {"extractor": self.name, "resizing": self.resizing, "weights_sha256": self.sha256}


def metric(name: str) -> str:
    """The name of a Frechet distance of an extractor's features: "fid" for Inception, else "frechet_NAME"."""
    return "fid" if name == INCEPTION else f"frechet_{name}"


def load(name: str | None = None, weights: str | Path | None = None, resizing: str | None = None) -> Extractor:
    """Loads an extractor.

    Args:
      name: one of `NAMES`. None: Inception if the path of its weights is known, else EfficientNet-Lite0.
      weights: the path of Inception's weights. None: the value of the environment variable HCFLOW_INCEPTION.
      resizing: one of `PROTOCOLS`, for Inception only. None: "tf1".

    Raises:
      InputError: the name or the resizing is unknown, the weights are missing or belong to another network, or
        weights or a resizing are given for another extractor than Inception.
      MissingExtraError: EfficientNet-Lite0 is needed, and the extra `eval` is not installed.
    """
    file = inception_weights.find(weights)
    name = name or (INCEPTION if file else EFFICIENTNET)
    if name in NAMES and name != INCEPTION and (weights is not None or resizing is not None):
        raise InputError(f"{name} accepts neither a file of weights nor a resizing protocol")
    if name in attributes.NAMES:
        reader = attributes.read(name)
        return Extractor(name, attributes.DIMS, attributes.features, reader.weights, "area", reader.sha256)
    if name == EFFICIENTNET:
        arrays, path = efficientnet.read()
        return Extractor(name, efficientnet.DIMS, efficientnet.features, arrays, "bilinear", _sha256(path))
    if name != INCEPTION:
        raise InputError(f"no extractor {name!r}; there are {', '.join(NAMES)}")
    resizing = resizing or TF1
    if resizing not in NETWORKS:
        raise InputError(f"no resizing {resizing!r}; there are {', '.join(NETWORKS)}")
    if file is None:
        raise InputError(
            f"Inception's weights are not known: give {inception_weights.WANTED} with --weights or the environment "
            f"variable {inception_weights.VARIABLE}, or use the extractor {EFFICIENTNET}"
        )
    read = inception_weights.read(file)
    return Extractor(name, inception.DIMS, NETWORKS[resizing], read.arrays, resizing, read.sha256)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
