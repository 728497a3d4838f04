"""Small networks that read the options of a drawing, such as hair and clothes, from its pixels.

There is one network for each drawn style. The options of every drawing are known, so a network learns them in
minutes. Its features have few dimensions. The scores of the options are linear in the features, so options can also
be read from stored features (`Reader.predict`). The weights are in `weights/`, with a card for each style.
`benchmarks/attributes.py` makes both.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt8
from safetensors import SafetensorError
from safetensors.numpy import load

from hcflow_jax.errors import InputError

NAMES = ("toon-head", "landscape")  # the styles; the extractors have the same names
SIZE = 32  # side of the network's input, pixels
DIMS = 64  # length of a feature
WIDTHS = (48, 64, 64)  # channels at 16, 8 and 4 pixels
HIDDEN = 128  # width of the hidden dense layer
LEAST_ACCURACY = 0.9  # on new drawings; options that are read less accurately are left out

Weights = Mapping[str, Array]


@dataclasses.dataclass(frozen=True)
class Attribute:
    """An option of the drawings that has a small number of values.

    Attributes:
      name: the name of the option, for example "hairVariant".
      values: its values, for example "bun"; "none" means that the part is absent.
      accuracy: the share of new drawings in which the network reads the option correctly.
    """

    name: str
    values: tuple[str, ...]
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Reader:
    """The content of a file of weights.

    Attributes:
      name: the name of the style.
      weights: the weights that `features` takes.
      kernel: the kernel of the linear map from features to scores, (DIMS, number of values of all attributes).
      bias: the bias of that map, (number of values of all attributes,).
      attributes: the attributes, in the order of the scores.
      metadata: how the weights were made, as plain values.
      sha256: the SHA-256 of the file.
    """

    name: str
    weights: Mapping[str, np.ndarray]
    kernel: Float[np.ndarray, "d s"]
    bias: Float[np.ndarray, " s"]
    attributes: tuple[Attribute, ...]
    metadata: Mapping[str, Any]
    sha256: str

    def predict(self, features: Float[np.ndarray, "n d"]) -> dict[str, Int[np.ndarray, " n"]]:
        """Predicts the value of each attribute in each image.

        The predicted value is the one with the highest score. A score is linear in the features.

        Args:
          features: from `features`, (n, DIMS).

        Returns:
          Attribute name -> index into `Attribute.values`, (n,).

        Raises:
          InputError: the features have other dimensions.
        """
        if features.ndim != 2 or features.shape[1] != len(self.kernel):
            raise InputError(f"features of shape {features.shape}: expected (n, {len(self.kernel)}) for {self.name}")
        scores = features.astype(np.float64) @ self.kernel + self.bias
        ends = np.cumsum([len(attribute.values) for attribute in self.attributes])
        parts = np.split(scores, ends[:-1], axis=1)
        return {attribute.name: part.argmax(1) for attribute, part in zip(self.attributes, parts, strict=True)}


def file(name: str) -> Path:
    """The path of a style's weights. The card is the file next to it that ends in .md."""
    return Path(__file__).with_name("weights") / f"{name}.safetensors"


def read(name: str) -> Reader:
    """Reads a style's weights.

    Raises:
      InputError: the style is unknown, or the file is missing or damaged.
    """
    if name not in NAMES:
        raise InputError(f"no attributes are read for the style {name!r}; there are {', '.join(NAMES)}")
    path = file(name)
    try:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["attributes"])
        arrays = {key: array.astype(np.float32) for key, array in load(content).items()}
        kernel, bias = (arrays.pop(f"head.{part}").astype(np.float64) for part in ("kernel", "bias"))
        shipped = tuple(Attribute(a["name"], tuple(a["values"]), a["accuracy"]) for a in metadata["attributes"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as weights ({error}); install hcflow_jax again") from error
    return Reader(name, arrays, kernel, bias, shipped, metadata, hashlib.sha256(content).hexdigest())


def values(options: Mapping[str, Any]) -> dict[str, str]:
    """The options of a drawing that have a small number of values: the variant and the colour of each part.

    Args:
      options: the options of a drawing, see `hcflow_jax.data.render.options`. Positions and angles are left out,
        because they are continuous.

    Returns:
      Option name -> value, as text. The options of an absent part are missing.
    """
    kept = {key: value for key, value in options.items() if key.endswith(("Variant", "Color"))}
    texts = {key: " ".join(value) if isinstance(value, list) else str(value) for key, value in kept.items()}
    return {key: text for key, text in texts.items() if text}


def features(weights: Weights, images: UInt8[Array, "b R R 3"]) -> Float[Array, "b d"]:
    """Features of images: the mean over each image and its mirror image.

    A mirrored drawing has the same options, and models are trained on mirrored drawings too. So the features do not
    change when an image is mirrored.

    Args:
      weights: `Reader.weights`.
      images: 8-bit values. If the size is not `SIZE`, the images are resized by area.
    """
    x = _resized(images.astype(jnp.float32) / 255)
    return (embed(weights, x) + embed(weights, x[:, :, ::-1])) / 2


def embed(weights: Weights, x: Float[Array, "b 32 32 3"]) -> Float[Array, "b d"]:
    """Applies the network to the images as they are, without mirroring. `x` is in [0, 1].

    The network has three stages. A stage turns each 2 x 2 block of pixels into one pixel with four times the
    channels, then applies a 1 x 1 and a 3 x 3 convolution. Two dense layers follow; the last one is linear.
    """
    x = x * 2 - 1
    for i in range(len(WIDTHS)):
        x = _blocks(x)
        x = jax.nn.relu(_dense(weights, f"mix{i}", x))
        x = jax.nn.relu(_convolved(weights, f"conv{i}", x))
    x = jax.nn.relu(_dense(weights, "hidden", x.reshape(len(x), -1)))
    return _dense(weights, "features", x)


def initial(seed: int) -> dict[str, np.ndarray]:
    """Weights before training: normal kernels with variance 2 / fan-in, and zero biases."""
    rng, made, channels = np.random.default_rng(seed), {}, 3
    shapes: list[tuple[str, tuple[int, ...]]] = []
    for i, width in enumerate(WIDTHS):
        shapes += [(f"mix{i}", (4 * channels, width)), (f"conv{i}", (3, 3, width, width))]
        channels = width
    side = SIZE // 2 ** len(WIDTHS)
    shapes += [("hidden", (side * side * channels, HIDDEN)), ("features", (HIDDEN, DIMS))]
    for name, shape in shapes:
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        made[f"{name}.kernel"] = (spread * rng.normal(size=shape)).astype(np.float32)
        made[f"{name}.bias"] = np.zeros(shape[-1], np.float32)
    return made


def _resized(x: Float[Array, "b R R 3"]) -> Float[Array, "b 32 32 3"]:
    """Resizes images by area: each new pixel is the mean over the area that it covers."""
    if x.shape[1] == SIZE:
        return x
    matrix = jnp.asarray(_areas(x.shape[1]), x.dtype)
    return jnp.einsum("ih,jw,bhwc->bijc", matrix, matrix, x, precision=lax.Precision.HIGHEST)


def _areas(size: int) -> Float[np.ndarray, "32 R"]:
    """The overlap of each old pixel with each new pixel, along one axis, as a share of the new pixel's width."""
    edges = np.arange(SIZE + 1) * (size / SIZE)
    old = np.arange(size)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.maximum(overlap, 0) * (SIZE / size)


def _blocks(x: Array) -> Array:
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def _dense(weights: Weights, name: str, x: Array) -> Array:
    return jnp.matmul(x, weights[f"{name}.kernel"], precision=lax.Precision.HIGHEST) + weights[f"{name}.bias"]


def _convolved(weights: Weights, name: str, x: Array) -> Array:
    kernel, numbers = weights[f"{name}.kernel"], ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=numbers, precision=lax.Precision.HIGHEST
    )
    return y + weights[f"{name}.bias"]
